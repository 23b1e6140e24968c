// @ts-check
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clock, plural, spoken, t, title, useTexts, wait } from '../assets/page.js';
import { inOrder } from '../assets/map.js';

useTexts(JSON.parse(readFileSync(new URL('../lang/en.json', import.meta.url), 'utf8')));

test('durations', () => {
  for (const [ms, want] of /** @type {[number, string][]} */ ([
    [-5, '0:00'], [0, '0:00'], [1, '0:01'], [59_001, '1:00'], [600_000, '10:00'], [3_729_000, '1:02:09'],
  ])) assert.equal(clock(ms), want, String(ms));
  assert.equal(spoken(1000), '1 second');
  assert.equal(spoken(90_000), '90 seconds');
  assert.equal(spoken(272_000), '5 minutes');
});

test('an estimate is a range, wider than it was measured, or nothing', () => {
  for (const [low, high, want] of /** @type {[number, number, string][]} */ ([
    [0, 5, 'About a minute or less'], [20, 60, 'About a minute or less'], [30, 61, 'Up to 2 minutes'],
    [120, 120, 'About 2 minutes'], [410, 560, 'About 6 to 10 minutes'], [3000, 7200, 'About 50 to 120 minutes'],
    [1800, 7300, 'Up to 3 hours'], [3700, 10_000, 'About 1 to 3 hours'],
  ])) assert.equal(wait({ low_s: low, high_s: high }), want, `${low}–${high}`);
  assert.equal(wait(null), '');
});

test('texts', () => {
  assert.equal(plural('line.of', 12480), 'of 12,480 people waiting');
  assert.equal(plural('done.seat', 1), '1 seat');
  assert.equal(t('no.such.key'), 'no.such.key');
  assert.equal(title('autumn-gala-2026'), 'Autumn gala 2026');
  assert.equal(title('9-'), '9');
});

test('seats are listed as people count', () => {
  assert.deepEqual(inOrder(['AA-1', 'B-10', 'B-9', 'A-2']), ['A-2', 'B-9', 'B-10', 'AA-1']);
});
