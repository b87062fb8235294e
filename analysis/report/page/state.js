/** What is chosen: defaults, and the way into the page's address and back. */
(function () {
  'use strict';

  const lop = window.lop;
  const NUMBERS = ['margin', 'factor', 'chance'];
  const COUNTS = ['last', 'hold', 'recover'];
  const DEFINITIONS = ['late', 'onset', 'trend'];
  const THEMES = ['auto', 'light', 'dark'];

  /** Whether the page has every task's loss, which onsets are computed from. */
  function hasEveryTask(sweep) {
    return sweep.about.resolution.final_ce === 0;
  }

  function allShown(sweep) {
    const early = hasEveryTask(sweep) ? [] : ['onset', 'first_symptom'];
    return [...sweep.about.scores, ...sweep.about.categories].filter((shown) => !early.includes(shown.name));
  }

  /** The rule that the report was made with; thresholds of symptoms belong to it and stay. */
  function ownRule(sweep) {
    return { ...sweep.about.rule };
  }

  function firstState(sweep) {
    const names = sweep.about.fields.map((field) => field.name);
    const x = names.includes('lr') ? 'lr' : names[0];
    const y = names.includes('depth') && x !== 'depth' ? 'depth' : names.find((name) => name !== x);
    const state = {
      x, y, score: 'excess', at: {}, rule: ownRule(sweep), boundary: true, numbers: true, theme: 'auto', point: null, cell: null,
    };
    return { ...state, at: bestSlice(sweep, state) };
  }

  /** Of all slices the one with most cells, then most losses: something is to be seen there. */
  function bestSlice(sweep, state) {
    const names = lop.sliceFields(sweep, state.x, state.y);
    const cut = names.filter((name) => !sweep.fields.get(name).binned);
    const scores = lop.score(sweep, state.rule);
    const slices = new Map();
    for (let cell = 0; cell < sweep.n; cell += 1) {
      const key = cut.map((name) => sweep.arrays[`field.${name}`][cell]).join();
      const slice = slices.get(key) ?? { cells: 0, lost: 0, cell };
      slice.cells += 1;
      slice.lost += scores.lost[cell] === 1 ? 1 : 0;
      slices.set(key, slice);
    }
    const [best] = [...slices.values()].sort((a, b) => b.cells - a.cells || b.lost - a.lost);
    const index = (name) => (cut.includes(name) ? sweep.arrays[`field.${name}`][best.cell] : lop.ALL);
    return Object.fromEntries(names.map((name) => [name, index(name)]));
  }

  /** Slices for other axes: kept where they are the same fields, else where most cells are. */
  function withAxes(sweep, state, axes) {
    const next = { ...state, ...axes, point: null };
    if (next.x === next.y) {
      if ('x' in axes) next.y = state.x;
      else next.x = state.y;
    }
    const found = bestSlice(sweep, next);
    for (const name of Object.keys(found)) found[name] = state.at[name] ?? found[name];
    return { ...next, at: found };
  }

  function nearest(values, wanted) {
    const exact = values.findIndex((value) => value === wanted);
    return exact >= 0 ? exact : values.findIndex((value) => lop.setting(value) === lop.setting(wanted));
  }

  /** The state as it stands after the # of the address. */
  function toHash(sweep, state) {
    const words = new URLSearchParams({ x: state.x, y: state.y, score: state.score });
    for (const [name, index] of Object.entries(state.at)) {
      words.set(`at.${name}`, index === lop.ALL ? 'all' : String(sweep.fields.get(name).values[index]));
    }
    words.set('definition', state.rule.definition);
    for (const name of [...NUMBERS, ...COUNTS]) words.set(name, state.rule[name] === null ? 'quarter' : String(state.rule[name]));
    words.set('boundary', state.boundary ? '1' : '0');
    words.set('numbers', state.numbers ? '1' : '0');
    words.set('theme', state.theme);
    if (state.point) {
      words.set('point.x', String(sweep.fields.get(state.x).values[state.point.x]));
      words.set('point.y', String(sweep.fields.get(state.y).values[state.point.y]));
      if (state.cell !== null) words.set('cell', state.cell);
    }
    return `#${words}`;
  }

  /** A rule's value from text; null where it is none. */
  function readRuleValue(name, text) {
    if (name === 'last' && (text === 'quarter' || text === '')) return { value: null };
    const value = Number(text);
    if (text === '' || !Number.isFinite(value)) return null;
    if (COUNTS.includes(name)) return Number.isInteger(value) && value >= 1 ? { value } : null;
    return value >= 0 ? { value } : null;
  }

  /** The state that an address describes; what it leaves out, or what this sweep does not have, is as at first. */
  function fromHash(sweep, hash) {
    const words = new URLSearchParams(hash.replace(/^#/, ''));
    const first = firstState(sweep);
    const named = (key, names) => (names.includes(words.get(key)) ? words.get(key) : null);
    const fields = sweep.about.fields.map((field) => field.name);
    let state = withAxes(sweep, first, { x: named('x', fields) ?? first.x });
    state = withAxes(sweep, state, { y: named('y', fields) ?? state.y });
    state.score = named('score', allShown(sweep).map((shown) => shown.name)) ?? first.score;
    for (const name of Object.keys(state.at)) {
      const text = words.get(`at.${name}`);
      const index = text === 'all' ? lop.ALL : nearest(sweep.fields.get(name).values, Number(text));
      if (text !== null && (text === 'all' || index >= 0)) state.at[name] = index;
    }
    const definitions = hasEveryTask(sweep) ? DEFINITIONS : DEFINITIONS.filter((name) => name !== 'onset');
    state.rule = { ...state.rule, definition: named('definition', definitions) ?? state.rule.definition };
    for (const name of [...NUMBERS, ...COUNTS]) {
      const read = words.has(name) ? readRuleValue(name, words.get(name)) : null;
      if (read && !(name === 'last' && !hasEveryTask(sweep))) state.rule[name] = read.value;
    }
    for (const name of ['boundary', 'numbers']) if (words.has(name)) state[name] = words.get(name) === '1';
    state.theme = named('theme', THEMES) ?? 'auto';
    const point = { x: pointIndex(sweep, state.x, words.get('point.x')), y: pointIndex(sweep, state.y, words.get('point.y')) };
    state.point = point.x >= 0 && point.y >= 0 ? point : null;
    state.cell = /^[0-9a-f]{16}$/.test(words.get('cell') ?? '') ? words.get('cell') : null;
    return state;
  }

  function pointIndex(sweep, name, text) {
    return text === null ? -1 : nearest(sweep.fields.get(name).values, Number(text));
  }

  Object.assign(lop, { NUMBERS, COUNTS, hasEveryTask, allShown, ownRule, withAxes, toHash, fromHash, readRuleValue });
})();
