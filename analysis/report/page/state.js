/** The state of the page: its defaults, and its form in the page's address. */
(function () {
  'use strict';

  const lop = window.lop;
  const THEMES = ['auto', 'light', 'dark'];

  /** Whether the page has the loss of every task, which onsets are computed from. */
  function hasEveryTask(sweep) {
    return sweep.about.resolution.loss === 0;
  }

  /** Those of the entries (definitions, scores, ...) that can be computed from the data. */
  function available(sweep, entries) {
    return entries.filter((entry) => hasEveryTask(sweep) || !entry.needs_every_task);
  }

  /** The scores, categories and fitted rates that the map can show. */
  function variables(sweep) {
    return available(sweep, [...sweep.about.scores, ...sweep.about.categories, ...sweep.about.fitted]);
  }

  /** The criterion that the report was made with. The page cannot change its thresholds of symptoms. */
  function ownCriterion(sweep) {
    return { ...sweep.about.criterion };
  }

  function firstState(sweep) {
    const { opening, scores, surfaces } = sweep.about;
    const state = {
      ...opening, score: scores[0].name, at: {}, criterion: ownCriterion(sweep),
      boundary: true, level: surfaces.level, numbers: true, theme: THEMES[0], point: null, cell: null,
    };
    return { ...state, at: bestSlice(sweep, state) };
  }

  /**
   * The slice with most cells, and of several such slices the one with most losses. Fields with a value of their own for
   * nearly every configuration are pooled.
   */
  function bestSlice(sweep, state) {
    const names = lop.sliceFields(sweep, state.x, state.y);
    const cut = names.filter((name) => !sweep.fields.get(name).binned && !sweep.fields.get(name).identifying);
    const scores = lop.score(sweep, state.criterion);
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

  /** The state with other axes: slices of the same fields are kept, others are those with most cells. */
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

  /** A field's value as it stands in the address. A category may itself be called "all". */
  function toText(field, index) {
    const text = String(field.values[index]);
    return text === 'all' ? '"all"' : text;
  }

  /** The index of the value that a text stands for: of a number the exact one, else the same in six digits. */
  function indexOf(field, text) {
    const exact = field.values.findIndex((_, index) => toText(field, index) === text);
    if (exact >= 0 || field.scale === 'category') return exact;
    const wanted = Number(text);
    const same = field.values.indexOf(wanted);
    return same >= 0 ? same : field.values.findIndex((value) => lop.setting(value) === lop.setting(wanted));
  }

  /** The state as it stands after the # of the address. */
  function toHash(sweep, state) {
    const words = new URLSearchParams({ x: state.x, y: state.y, score: state.score });
    for (const [name, index] of Object.entries(state.at)) {
      words.set(`at.${name}`, index === lop.ALL ? 'all' : toText(sweep.fields.get(name), index));
    }
    words.set('definition', state.criterion.definition);
    for (const { name } of sweep.about.controls) {
      words.set(name, state.criterion[name] === null ? 'default' : String(state.criterion[name]));
    }
    words.set('boundary', state.boundary ? '1' : '0');
    words.set('level', String(sweep.about.surfaces.levels[state.level].value));
    words.set('numbers', state.numbers ? '1' : '0');
    words.set('theme', state.theme);
    if (state.point) {
      words.set('point.x', toText(sweep.fields.get(state.x), state.point.x));
      words.set('point.y', toText(sweep.fields.get(state.y), state.point.y));
      if (state.cell !== null) words.set('cell', state.cell);
    }
    return `#${words}`;
  }

  /** A threshold from text, as `{ value }`; null if it is not allowed. */
  function readThreshold(control, text) {
    if (control.empty && ['default', 'quarter', ''].includes(text)) return { value: null };
    const value = Number(text);
    if (text === '' || !Number.isFinite(value)) return null;
    if (control.is_count) return Number.isInteger(value) && value >= 1 ? { value } : null;
    return value >= 0 ? { value } : null;
  }

  /** The state that an address describes; what it leaves out, or this sweep does not have, keeps its default. */
  function fromHash(sweep, hash) {
    const words = new URLSearchParams(hash.replace(/^#/, ''));
    const first = firstState(sweep);
    const named = (key, names) => (names.includes(words.get(key)) ? words.get(key) : null);
    const namesOf = (entries) => entries.map((entry) => entry.name);
    const fields = namesOf(sweep.about.fields);
    let state = withAxes(sweep, first, { x: named('x', fields) ?? first.x });
    state = withAxes(sweep, state, { y: named('y', fields) ?? state.y });
    state.score = named('score', namesOf(variables(sweep))) ?? first.score;
    for (const name of Object.keys(state.at)) {
      const text = words.get(`at.${name}`);
      const index = text === null || text === 'all' ? lop.ALL : indexOf(sweep.fields.get(name), text);
      if (text === 'all' || index >= 0) state.at[name] = index;
    }
    const definitions = namesOf(available(sweep, sweep.about.definitions));
    state.criterion = { ...state.criterion, definition: named('definition', definitions) ?? state.criterion.definition };
    for (const control of available(sweep, sweep.about.controls)) {
      const read = words.has(control.name) ? readThreshold(control, words.get(control.name)) : null;
      if (read) state.criterion[control.name] = read.value;
    }
    for (const name of ['boundary', 'numbers']) if (words.has(name)) state[name] = words.get(name) === '1';
    const level = sweep.about.surfaces.levels.findIndex(({ value }) => String(value) === words.get('level'));
    if (level >= 0) state.level = level;
    state.theme = named('theme', THEMES) ?? THEMES[0];
    const index = (name, key) => (words.has(key) ? indexOf(sweep.fields.get(name), words.get(key)) : -1);
    const point = { x: index(state.x, 'point.x'), y: index(state.y, 'point.y') };
    state.point = point.x >= 0 && point.y >= 0 ? point : null;
    state.cell = /^[0-9a-f]{16}$/.test(words.get('cell') ?? '') ? words.get('cell') : null;
    return state;
  }

  Object.assign(lop, { hasEveryTask, variables, ownCriterion, withAxes, toHash, fromHash, readThreshold });
})();
