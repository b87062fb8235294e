/** From the text in the page to typed arrays: the inverse of `analysis.report.encoding`. */
(function () {
  'use strict';

  const lop = window.lop;

  /** The metric that has the loss in it by which tasks are judged; where it was not measured, that before the last update. */
  const MAIN = 'end_ce';
  const FORMATS = {
    f8: Float64Array, f4: Float32Array, u4: Uint32Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array,
  };

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  /** The bytes that a script element holds as base64 of gzip; the element is emptied. */
  async function unpack(id) {
    const element = document.getElementById(id);
    const packed = new Blob([bytesOf(element.textContent.trim())]);
    element.textContent = '';
    return new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
  }

  /** Floats from the upper halves of their bits. */
  function fromBFloat16(halves) {
    const bits = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i += 1) bits[i] = halves[i] << 16;
    return new Float32Array(bits.buffer);
  }

  function view(buffer, { format, offset, length }) {
    if (format === 'bf16') return fromBFloat16(new Uint16Array(buffer, offset, length));
    return new FORMATS[format](buffer, offset, length);
  }

  /** The number of tasks per value of a sequence; 0 blocks mean every task. */
  function stride(tasks, blocks) {
    return blocks === 0 ? 1 : Math.ceil(tasks / blocks);
  }

  /** Where each cell's values begin in an array with `sizeOf(cell)` values per cell; one entry more than cells. */
  function offsets(cells, sizeOf) {
    const starts = new Uint32Array(cells + 1);
    for (let cell = 0; cell < cells; cell += 1) starts[cell + 1] = starts[cell] + sizeOf(cell);
    return starts;
  }

  /**
   * The sweep: `about` (the description), `n` cells, `arrays` by name, and where the sequences of each cell begin.
   * `starts.rows` counts every task, the others count blocks of tasks.
   */
  async function load() {
    const about = JSON.parse(document.getElementById('about').textContent);
    const buffer = await unpack('arrays');
    const arrays = {};
    for (const entry of about.arrays) arrays[entry.name] = view(buffer, entry);
    const { tasks, depth } = arrays;
    const { resolution } = about;
    const kept = (cell, blocks) => Math.ceil(tasks[cell] / stride(tasks[cell], blocks));
    const starts = {
      rows: offsets(about.cells, (cell) => tasks[cell]),
      loss: offsets(about.cells, (cell) => kept(cell, resolution.loss)),
      curves: offsets(about.cells, (cell) => kept(cell, resolution.curves)),
      layers: offsets(about.cells, (cell) => kept(cell, resolution.layers) * depth[cell]),
    };
    const byName = (entries) => new Map(entries.map((entry) => [entry.name, entry]));
    return { about, n: about.cells, arrays, starts, fields: byName(about.fields), metrics: byName(about.metrics) };
  }

  /** A cell's sequence of a metric, mean over layers: its values and the number of tasks per value. */
  function sequence(sweep, metric, cell) {
    const kind = metric === MAIN ? 'loss' : 'curves';
    const starts = sweep.starts[kind];
    const values = sweep.arrays[metric === MAIN ? 'loss' : `curve.${metric}`].subarray(starts[cell], starts[cell + 1]);
    return { values, step: stride(sweep.arrays.tasks[cell], sweep.about.resolution[kind]) };
  }

  /** Whether a metric was measured in any of these cells, as far as those that diverged at once can show it. */
  function isMeasured(sweep, metric, cells) {
    const begun = Array.from(cells).filter((cell) => sweep.arrays.diverged_at[cell] !== 1);
    return begun.length === 0 || begun.some((cell) => !sequence(sweep, metric, cell).values.every(Number.isNaN));
  }

  /** The value of a configuration field of a cell. */
  function fieldValue(sweep, name, cell) {
    if (`value.${name}` in sweep.arrays) return sweep.arrays[`value.${name}`][cell];
    const field = sweep.fields.get(name);
    if (field) return field.values[sweep.arrays[`field.${name}`][cell]];
    return sweep.about.fixed[name];
  }

  /** The plotting library's code, run as if it stood in the page. */
  async function loadPlotly() {
    const element = document.createElement('script');
    element.textContent = new TextDecoder().decode(await unpack('plotly'));
    document.head.append(element);
    element.remove();
  }

  Object.assign(lop, { MAIN, load, loadPlotly, sequence, isMeasured, stride, fieldValue });
})();
