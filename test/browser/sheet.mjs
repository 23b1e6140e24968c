// @ts-check
// Every state of the waiting page on one sheet per language: phone, landscape and
// desktop, light and dark. `WAITROOM_SHEET=DIR WAITROOM_E2E=1 go test -run Sheet`
// keeps the sheets there and prints their names.

import { DESK, finish, launch, open, PHONE } from './chromium.mjs';

const [, , base, dir, ...rooms] = process.argv;
const LOOKS = [
  { name: 'phone', viewport: PHONE, touch: true },
  { name: 'landscape', viewport: { width: PHONE.height, height: PHONE.width }, touch: true },
  { name: 'desktop', viewport: DESK },
].flatMap((look) => [{ ...look, dark: false }, { ...look, name: look.name + ' dark', dark: true }]);

// How high each picture stands on the sheet, in px.
const TALL = 300;

const browser = await launch();
for (const lang of ['en', 'ko']) {
  /** @type {Map<string, {look: string, shot: string}[]>} */
  const rows = new Map(rooms.map((room) => [room, []]));
  for (const look of LOOKS) {
    const page = await open(browser, { ...look, lang });
    for (const room of rooms) {
      await page.goto(`${base}/rooms/${room}`);
      // Words and script are there; some states are reached a moment later only.
      await page.waitForFunction(() => performance.now() > 1_500 && document.readyState === 'complete');
      const shot = (await page.screenshot({ type: 'jpeg', quality: 70 })).toString('base64');
      rows.get(room)?.push({ look: look.name, shot });
    }
    await page.context().close();
  }
  // The sheet is a page too: a grid of the pictures, photographed whole.
  const sheet = await open(browser, { viewport: { width: 2_700, height: 800 } });
  await sheet.evaluate(({ rows, tall }) => {
    document.body.style.cssText = 'margin:12px;font:14px sans-serif;background:#777;color:#fff';
    for (const [room, shots] of rows) {
      const title = document.createElement('h2');
      title.textContent = room;
      const line = document.createElement('div');
      line.style.cssText = 'display:flex;gap:8px;flex-wrap:wrap';
      for (const { look, shot } of shots) {
        const picture = document.createElement('img');
        picture.src = 'data:image/jpeg;base64,' + shot;
        picture.alt = look;
        picture.style.height = tall + 'px';
        line.append(picture);
      }
      document.body.append(title, line);
    }
    return Promise.all([...document.images].map((i) => i.decode()));
  }, { rows: [...rows], tall: TALL });
  const file = `${dir}/sheet-${lang}.png`;
  await sheet.screenshot({ path: file, fullPage: true });
  await sheet.context().close();
  console.log(file);
}
await finish(browser);
