/** Colour scales: what a score's colours mean, where they end, and the colour bar's ticks. */
(function () {
  'use strict';

  const lop = window.lop;
  const even = (colours) => colours.map((colour, index) => [index / (colours.length - 1), colour]);

  function spread(values) {
    if (values.length === 0) return [0, 1];
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    return [low, high > low ? high : low + 1];
  }

  /**
   * The scale of a score, as `analysis.plot.variables` has it: `colours`, and `low` and `high` where they end, in what `draw`
   * makes of a value. Where a score has no natural ends they are those of the points that are shown.
   */
  function scaleOf(sweep, rule, shown, points) {
    const colours = even(sweep.about.palettes[shown.palette]);
    const plain = ([low, high]) => ({ colours, low, high, draw: (v) => v });
    const around = (centre, half) => plain([centre - half, centre + half]);
    const values = points.map((point) => point.value).filter(Number.isFinite);
    switch (shown.scale) {
      case 'excess': return around(rule.margin, Math.LN2);
      case 'log_ratio': return around(rule.factor > 0 ? Math.log10(rule.factor) : 0, 2);
      case 'share': return plain([0, 1]);
      case 'around zero': {
        const sizes = values.map(Math.abs);
        return around(0, (sizes.length && (lop.quantile(sizes, 0.9) || Math.max(...sizes))) || 1);
      }
      case 'log': {
        const [low, high] = spread(values.filter((v) => v > 0).map(Math.log10));
        const ticks = logTicks(low, high, 9);
        const marks = { tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => lop.number(tick, 2)) };
        return { ...plain([low, high]), draw: (v) => (v > 0 ? Math.log10(v) : -Infinity), ...marks };
      }
      case 'linear': return plain(spread(values));
      default: throw new Error(`unknown scale ${shown.scale}`);
    }
  }

  /** At most so many ticks between two powers of ten: at whole powers; at 1, 2 and 5 times them where there would be too few. */
  function logTicks(low, high, most) {
    const make = (factors) => {
      const ticks = [];
      for (let power = Math.floor(low); power <= high; power += 1) {
        for (const factor of factors) ticks.push(factor * 10 ** power);
      }
      return ticks.filter((tick) => Math.log10(tick) >= low - 1e-9 && Math.log10(tick) <= high + 1e-9);
    };
    let ticks = make([1]);
    if (ticks.length < 3) ticks = make([1, 2, 5]);
    if (ticks.length < 2) ticks = [10 ** low, 10 ** high];
    if (ticks.length > most) ticks = ticks.filter((_, index) => index % Math.ceil(ticks.length / most) === 0);
    return ticks;
  }

  /** The scale of a category: one step a name. */
  function stepsOf(shown) {
    const names = Object.keys(shown.colours);
    const colours = names.flatMap((name, i) => [
      [i / names.length, shown.colours[name]],
      [(i + 1) / names.length, shown.colours[name]],
    ]);
    const tickvals = names.map((_, index) => index);
    return { colours, low: -0.5, high: names.length - 0.5, draw: (v) => v, tickvals, ticktext: names };
  }

  Object.assign(lop, { even, scaleOf, logTicks, stepsOf });
})();
