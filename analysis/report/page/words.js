/** Numbers and sentences as the page writes them. */
(function () {
  'use strict';

  const lop = (window.lop = {});
  const DIGITS = 6;

  /** A number in three digits; a dash where it is undefined. */
  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return '–';
    if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 1) : plain(value, digits);
    return text.replaceAll('-', '−');
  }

  function plain(value, digits) {
    const rounded = Number(value.toPrecision(digits));
    return Number.isInteger(value) ? String(value) : String(rounded);
  }

  /** A number as Python's format "g" writes it. */
  function general(value) {
    if (value === 0) return '0';
    const [mantissa, power] = value.toExponential(DIGITS - 1).split('e');
    const exponent = Number(power);
    if (exponent >= -4 && exponent < DIGITS) return String(Number(value.toFixed(DIGITS - 1 - exponent)));
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${Number(mantissa)}e${exponent < 0 ? '-' : '+'}${size}`;
  }

  /** A field's value as text, as `analysis.data.format_value` writes it. */
  function setting(value) {
    return typeof value === 'number' ? general(value) : String(value);
  }

  function count(n, noun, plural = `${noun}s`) {
    return `${n.toLocaleString('en')} ${n === 1 ? noun : plural}`;
  }

  /** Lines of at most `width` characters, broken between words. */
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

  /** The indices of names, by the names in camel case: `{ plastic: 0, ..., noBaseline: 4 }`. */
  function indicesOf(names) {
    const camelCase = (name) => name.replace(/ (\w)/g, (_, letter) => letter.toUpperCase());
    return Object.fromEntries(names.map((name, index) => [camelCase(name), index]));
  }

  /** One of the criterion's templates, filled in as `LossCriterion` does. */
  function fillTemplate(about, template, criterion) {
    const fill = (text, texts) => text.replace(/\{(\w+)\}/g, (_, name) => texts[name]);
    const texts = Object.fromEntries(Object.entries(criterion).map(([name, value]) => [name, setting(value)]));
    const late = fill(about.templates[criterion.last === null ? 'late_share' : 'late_tasks'], texts);
    const filled = fill(about.templates[template], { ...texts, late_tasks: late });
    return `${filled[0].toUpperCase()}${filled.slice(1)}.`;
  }

  /** "120 plastic, 14 lost", without what does not occur. */
  function verdictCounts(counts, names) {
    return names
      .map((name, index) => [counts[index], name])
      .filter(([n]) => n > 0)
      .map(([n, name]) => `${n.toLocaleString('en')} ${name}`)
      .join(', ');
  }

  Object.assign(lop, { number, setting, count, wrap, escape, indicesOf, fillTemplate, verdictCounts });
})();
