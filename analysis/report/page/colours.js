/** Colour scales: the colours of a score, the values where they end, and the ticks of the colour bar. */
(function () {
  'use strict';

  const lop = window.lop;

  /** The stops of a colour scale with evenly spaced colours. */
  const even = (colours) => colours.map((colour, index) => [index / (colours.length - 1), colour]);

  /** The ends of the colours: those of the values; a single value is in the middle, `around(value)` from them. */
  function spread(values, around) {
    if (values.length === 0) return [0, 1];
    const [low, high] = lop.extent(values);
    return high > low ? [low, high] : [low - around(low), low + around(low)];
  }

  /** The ticks of a scale whose ends are those of the values: none without a value, and one at a single value. */
  function fewTicks(values, draw) {
    const [low, high] = values.length ? lop.extent(values) : [NaN, NaN];
    if (low < high) return null;
    return values.length ? { tickvals: [draw(low)], ticktext: [lop.number(low, 3)] } : { tickvals: [], ticktext: [] };
  }

  /** Ticks at whole numbers, at most eight steps apart. */
  function wholeTicks(low, high) {
    const rough = Math.max(1, (high - low) / 8);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough && Number.isInteger(one));
    const first = Math.ceil(low / step);
    const ticks = Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
    return { tickvals: ticks, ticktext: ticks.map((tick) => lop.number(tick, 6)) };
  }

  /**
   * The scale of a score, as in `analysis.plot.variables`: `colours`, and `low` and `high` where they end, in the
   * coordinates that `draw` maps a value to. Where a score has no natural ends they are those of the points.
   */
  function scaleOf({ about }, criterion, score, points) {
    const colours = even(about.palettes[score.palette]);
    const plain = ([low, high]) => ({ colours, low, high, draw: (v) => v });
    const around = (centre, half) => plain([centre - half, centre + half]);
    const values = points.map((point) => point.value).filter(Number.isFinite);
    switch (score.scale) {
      case 'excess': return around(criterion.margin, about.half_widths.excess);
      case 'log_ratio': return around(criterion.factor > 0 ? Math.log10(criterion.factor) : 0, about.half_widths.log_ratio);
      case 'share': return plain([0, 1]);
      case 'around zero': {
        const sizes = values.map(Math.abs);
        return around(0, (sizes.length && (lop.quantile(sizes, about.symmetric_quantile) || Math.max(...sizes))) || 1);
      }
      case 'log': {
        const positive = values.filter((v) => v > 0);
        const [low, high] = positive.length ? spread(positive.map(Math.log10), () => 0.5) : [-1.5, 0.5];
        const ticks = logTicks(low, high, 9);
        const several = { tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => lop.number(tick, 2)) };
        const marks = fewTicks(positive, Math.log10) ?? several;
        return { ...plain([low, high]), draw: (v) => (v > 0 ? Math.log10(v) : -Infinity), ...marks };
      }
      case 'linear': {
        const ends = spread(values, (value) => Math.max(0.5, Math.abs(value) / 10));
        return { ...plain(ends), ...(fewTicks(values, (v) => v) ?? (score.whole ? wholeTicks(...ends) : {})) };
      }
      default: throw new Error(`unknown scale ${score.scale}`);
    }
  }

  /**
   * At most `most` ticks between two powers of ten: at whole powers, or also at 2 and 5 times them if there are too few.
   */
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

  /** The scale of a category: one step per name. */
  function stepsOf(category) {
    const names = Object.keys(category.colours);
    const colours = names.flatMap((name, i) => [
      [i / names.length, category.colours[name]],
      [(i + 1) / names.length, category.colours[name]],
    ]);
    const tickvals = names.map((_, index) => index);
    return { colours, low: -0.5, high: names.length - 0.5, draw: (v) => v, tickvals, ticktext: names };
  }

  Object.assign(lop, { even, scaleOf, logTicks, stepsOf });
})();
