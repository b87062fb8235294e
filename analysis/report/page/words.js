/** Numbers and sentences as the page writes them. */
(function () {
  'use strict';

  const lop = (window.lop = {});

  /** A number in three digits; a dash where it is undefined. */
  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return '–';
    if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 1) : plain(value, digits);
    return text.replace('-', '−');
  }

  function plain(value, digits) {
    const rounded = Number(value.toPrecision(digits));
    return Number.isInteger(value) ? String(value) : String(rounded);
  }

  /** A field's value, exact enough to tell it from its neighbours, as short as that allows. */
  function setting(value) {
    return String(Number(Number(value).toPrecision(6)));
  }

  /** Names for the values of an axis, in as few digits, of at least three, as tell them apart. */
  function shortNames(values) {
    for (let digits = 3; digits < 6; digits += 1) {
      const names = values.map((value) => String(Number(value.toPrecision(digits))));
      if (new Set(names).size === names.length) return names;
    }
    return values.map(setting);
  }

  /** A score's label without what explains it. */
  function shortLabel({ label }) {
    return label.split(/: | \(|, | before | at /)[0];
  }

  function count(n, noun, plural = `${noun}s`) {
    return `${n.toLocaleString('en')} ${n === 1 ? noun : plural}`;
  }

  /** Lines of at most so many characters, broken between words. */
  function wrap(text, width) {
    const lines = [''];
    for (const word of text.split(' ')) {
      const last = lines[lines.length - 1];
      if (last && last.length + 1 + word.length > width) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    return lines;
  }

  /** `text` for use inside HTML. */
  function escape(text) {
    const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
    return String(text).replace(/[&<>"']/g, (character) => entities[character]);
  }

  /** The rule in words, as `LossCriterion` puts it. */
  function ruleSentence(rule) {
    const worse = `the fresh networks' by > ${setting(rule.margin)} nats and ${setting(rule.factor)} times`;
    const late = rule.last === null ? 'last quarter of tasks' : `last ${rule.last} tasks`;
    return {
      late: `Lost: CE of the ${late} exceeds ${worse}.`,
      onset: `Lost: CE exceeds ${worse} for ${rule.hold} tasks in a row, not below for ${rule.recover} later.`,
      trend: `Lost: CE rises by > ${setting(rule.margin)} nats over the sequence, 95% interval of the slope above 0.`,
    }[rule.definition];
  }

  /** "120 plastic, 14 lost", without what does not occur. */
  function phaseCounts(counts, names) {
    return names
      .map((name, index) => [counts[index], name])
      .filter(([n]) => n > 0)
      .map(([n, name]) => `${n.toLocaleString('en')} ${name}`)
      .join(', ');
  }

  Object.assign(lop, { number, setting, shortNames, shortLabel, count, wrap, escape, ruleSentence, phaseCounts });
})();
