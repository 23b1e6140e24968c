// @ts-check
// The seat map: one button per seat, built once and then changed only where a
// seat looks different, so that a few thousand seats stay smooth. One tab stop;
// arrow keys walk. It knows seats and looks, not what they mean to the shop.

import { t } from './page.js';

const LOOKS = /** @type {Record<string, string>} */ ({
  free: 'seat.free', chosen: 'seat.chosen', mine: 'seat.mine', booked: 'seat.booked', taken: 'seat.taken',
});

// Sizes of a seat in px: below the least nothing can be seen, above the most
// one seat fills a phone. TOUCH is the least that a finger hits (WCAG 2.5.8).
const LEAST = 9;
const MOST = 64;
const TOUCH = 28;
const COMFORT = 36;

// Seats that are drawn in one task: some ten ms on a slow phone. The rest of a great
// hall follows, so that nothing waits for it.
const AT_ONCE = 2_000;

export class SeatMap {
  /** @type {Map<string, {button: HTMLButtonElement, row: number, look: string}>} */ #seats = new Map();
  /** @type {string[][]} */ #rows = [];
  #box;
  #frame;
  #size = TOUCH;
  #columns = 1;
  #current = '';
  /** @type {Set<string>} those that are drawn, and those still to be */ #ids = new Set();
  /** @type {(id: string) => string} */ #look = () => '';
  #building = 0;

  /**
   * @param {HTMLElement} box scrolls @param {HTMLElement} frame holds the rows
   * @param {(id: string) => void} toggle
   */
  constructor(box, frame, toggle) {
    this.#box = box;
    this.#frame = frame;
    frame.addEventListener('click', (event) => {
      const id = this.#idOf(event.target);
      if (!id) return;
      this.#stop(id);
      toggle(id);
    });
    frame.addEventListener('focusin', (event) => {
      const id = this.#idOf(event.target);
      if (id) this.#stop(id);
    });
    frame.addEventListener('keydown', (event) => this.#walk(event));
    this.#pinch();
  }

  /** @param {Iterable<string>} ids @param {(id: string) => string} look */
  update(ids, look) {
    const list = [...ids];
    this.#look = look;
    if (list.length !== this.#ids.size || list.some((id) => !this.#ids.has(id))) this.#build(list);
    for (const id of this.#seats.keys()) this.#dress(id);
  }

  /** Shows a seat as it looks now. @param {string} id */
  #dress(id) {
    const seat = this.#seats.get(id);
    const now = this.#look(id);
    if (!seat || now === seat.look) return;
    seat.look = now;
    const [row, place] = split(id);
    seat.button.dataset.look = now;
    seat.button.setAttribute('aria-label', t('seat.label', { row, seat: place, state: t(LOOKS[now]) }));
    seat.button.setAttribute('aria-pressed', String(now === 'chosen' || now === 'mine' || now === 'booked'));
    seat.button.setAttribute('aria-disabled', String(now !== 'free' && now !== 'chosen'));
  }

  /** Names every seat and row anew, after another language was chosen. */
  retell() {
    for (const seat of this.#seats.values()) seat.look = '';
    for (const row of this.#frame.children) row.setAttribute('aria-label', t('seat.row', { row: row.firstElementChild?.textContent ?? '' }));
  }

  /** @param {number} factor above 1 comes nearer */
  zoom(factor) {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.#box;
    const was = this.#size;
    this.#resize(was * factor);
    const grown = this.#size / was;
    // The middle of the view stays where it is.
    this.#box.scrollLeft = (scrollLeft + clientWidth / 2) * grown - clientWidth / 2;
    this.#box.scrollTop = (scrollTop + clientHeight / 2) * grown - clientHeight / 2;
  }

  /** Everything in view, as far as a finger can still hit it when touch says so. @param {boolean} touch */
  fit(touch) {
    const around = getComputedStyle(this.#frame.parentElement ?? this.#frame);
    const room = this.#box.clientWidth - parseFloat(around.paddingLeft) - parseFloat(around.paddingRight);
    // A row is its columns and two labels of one seat's width each.
    const whole = room / (this.#columns + 2);
    this.#resize(touch ? Math.max(TOUCH, Math.min(COMFORT, whole)) : Math.min(COMFORT, whole));
    this.#box.scrollLeft = (this.#box.scrollWidth - this.#box.clientWidth) / 2;
  }

  /** @param {number} size */
  #resize(size) {
    this.#size = Math.max(LEAST, Math.min(MOST, size));
    this.#frame.style.setProperty('--seat', this.#size + 'px');
    this.#frame.dataset.small = String(this.#size < 22);
  }

  /** @param {EventTarget|null} target */
  #idOf(target) {
    return target instanceof HTMLElement ? target.dataset.seat ?? '' : '';
  }

  /** Makes this seat the map's one tab stop. @param {string} id */
  #stop(id) {
    const before = this.#seats.get(this.#current);
    if (before) before.button.tabIndex = -1;
    this.#current = id;
    const seat = this.#seats.get(id);
    if (seat) seat.button.tabIndex = 0;
  }

  /** @param {string[]} ids */
  #build(ids) {
    this.#seats.clear();
    this.#ids = new Set(ids);
    /** @type {Map<string, string[]>} */
    const rows = new Map();
    for (const id of ids) {
      const [row] = split(id);
      const list = rows.get(row);
      if (list) list.push(id);
      else rows.set(row, [id]);
    }
    // A before B before AA; seats by number.
    const names = [...rows.keys()].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    this.#rows = names.map((name) => (rows.get(name) ?? []).sort((a, b) => Number(split(a)[1]) - Number(split(b)[1])));
    this.#columns = Math.max(1, ...this.#rows.map((row) => row.length));
    this.#frame.style.setProperty('--columns', String(this.#columns));
    this.#frame.replaceChildren();
    this.#draw(names, 0, ++this.#building);
    this.#stop(this.#rows[0]?.[0] ?? '');
  }

  /** Draws rows from one on, as many as fit a task, and the rest in further ones. @param {string[]} names @param {number} from @param {number} building */
  #draw(names, from, building) {
    if (building !== this.#building) return; // of a hall that is another one by now
    const rows = [];
    let to = from;
    for (let seats = 0; to < this.#rows.length && seats < AT_ONCE; to++) {
      rows.push(this.#row(names[to], this.#rows[to], to));
      seats += this.#rows[to].length;
    }
    for (const row of this.#rows.slice(from, to)) row.forEach((id) => this.#dress(id));
    this.#frame.append(...rows);
    if (to < this.#rows.length) setTimeout(() => this.#draw(names, to, building));
  }

  /** @param {string} name @param {string[]} ids @param {number} index */
  #row(name, ids, index) {
    const row = document.createElement('div');
    row.className = 'row';
    row.setAttribute('role', 'group');
    row.setAttribute('aria-label', t('seat.row', { row: name }));
    const label = () => {
      const span = document.createElement('span');
      span.className = 'row-name';
      span.textContent = name;
      span.setAttribute('aria-hidden', 'true');
      return span;
    };
    row.append(label());
    for (const id of ids) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'seat';
      button.dataset.seat = id;
      button.tabIndex = -1;
      button.textContent = split(id)[1];
      this.#seats.set(id, { button, row: index, look: '' });
      row.append(button);
    }
    row.append(label());
    return row;
  }

  /** @param {KeyboardEvent} event */
  #walk(event) {
    const id = this.#idOf(event.target);
    const seat = this.#seats.get(id);
    if (!seat || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.#rows[seat.row];
    const at = row.indexOf(id);
    // Rows are centred: up and down go to the seat that lies there.
    const beside = (/** @type {number} */ to) => {
      const other = this.#rows[to];
      if (!other) return id;
      return other[Math.max(0, Math.min(other.length - 1, Math.round(at + (other.length - row.length) / 2)))];
    };
    const next = {
      ArrowLeft: () => row[at - 1], ArrowRight: () => row[at + 1],
      ArrowUp: () => beside(seat.row - 1), ArrowDown: () => beside(seat.row + 1),
      Home: () => row[0], End: () => row[row.length - 1],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    const target = this.#seats.get(next() ?? id);
    target?.button.focus({ preventScroll: true });
    target?.button.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** Two fingers, or a trackpad's pinch, which browsers send as a wheel with ctrl. */
  #pinch() {
    /** @type {Map<number, PointerEvent>} */
    const fingers = new Map();
    let apart = 0;
    const distance = () => {
      const [a, b] = fingers.values();
      return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    };
    this.#box.addEventListener('pointerdown', (event) => {
      if (event.pointerType !== 'touch') return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 2) apart = distance();
    });
    this.#box.addEventListener('pointermove', (event) => {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, event);
      if (fingers.size !== 2 || apart === 0) return;
      const now = distance();
      this.zoom(now / apart);
      apart = now;
    });
    for (const end of ['pointerup', 'pointercancel', 'pointerleave']) {
      this.#box.addEventListener(end, (event) => fingers.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
    this.#box.addEventListener('wheel', (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 200));
    }, { passive: false });
  }
}

/** "A-12" → ["A", "12"]. @param {string} id */
function split(id) {
  const dash = id.lastIndexOf('-'); // a section stands before its row
  return [id.slice(0, dash), id.slice(dash + 1)];
}

/** Seats in the order a person reads them: by row, then number. @param {string[]} ids */
export function inOrder(ids) {
  return [...ids].sort((a, b) => {
    const [[rowA, placeA], [rowB, placeB]] = [split(a), split(b)];
    return rowA.length - rowB.length || (rowA < rowB ? -1 : rowA > rowB ? 1 : Number(placeA) - Number(placeB));
  });
}
