/** From the text in the page to typed arrays: what `analysis.report.encoding` packed. */
(function () {
  'use strict';

  const lop = window.lop;
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

  /** Floats of which the upper half of the bits is given. */
  function widen(halves) {
    const bits = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i += 1) bits[i] = halves[i] << 16;
    return new Float32Array(bits.buffer);
  }

  function view(buffer, { format, offset, length }) {
    if (format === 'h2') return widen(new Uint16Array(buffer, offset, length));
    return new FORMATS[format](buffer, offset, length);
  }

  /** How many tasks each value of a thinned-out sequence stands for. */
  function stride(tasks, blocks) {
    return blocks === 0 ? 1 : Math.ceil(tasks / blocks);
  }

  /** Where each cell's values begin in an array that holds `sizeOf(cell)` values a cell; one entry more than cells. */
  function offsets(cells, sizeOf) {
    const starts = new Uint32Array(cells + 1);
    for (let cell = 0; cell < cells; cell += 1) starts[cell + 1] = starts[cell] + sizeOf(cell);
    return starts;
  }

  /**
   * The sweep: `about` (the description), `n` cells, `arrays` by name, and where the sequences of each cell begin.
   * `starts.rows` counts every task, the others what is kept of them.
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
      final: offsets(about.cells, (cell) => kept(cell, resolution.final_ce)),
      curves: offsets(about.cells, (cell) => kept(cell, resolution.curves)),
      layers: offsets(about.cells, (cell) => kept(cell, resolution.layers) * depth[cell]),
    };
    return { about, n: about.cells, arrays, starts, fields: new Map(about.fields.map((field) => [field.name, field])) };
  }

  /** A cell's sequence of a measure of the network: its values and how many tasks each stands for. */
  function sequence(sweep, measure, cell) {
    const final = measure === 'final_ce';
    const starts = final ? sweep.starts.final : sweep.starts.curves;
    const values = sweep.arrays[final ? measure : `curve.${measure}`].subarray(starts[cell], starts[cell + 1]);
    return { values, step: stride(sweep.arrays.tasks[cell], sweep.about.resolution[final ? 'final_ce' : 'curves']) };
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

  Object.assign(lop, { load, loadPlotly, sequence, stride, fieldValue });
})();
