/** The command that computes one cell again. */
(function () {
  'use strict';

  const lop = window.lop;

  /** A cell's whole configuration, by field; the seed as text, because it may have more digits than a number holds. */
  function configuration(sweep, cell) {
    const config = {};
    for (const { name } of sweep.about.config) config[name] = lop.fieldValue(sweep, name, cell);
    config.seed = sweep.about.seeds[sweep.arrays.seed[cell]];
    return config;
  }

  /** Whether a field of a configuration has its default; that of some fields is another field's value. */
  function isDefault(config, { name, default: usual, default_from: other }) {
    return config[name] === (other === null ? usual : config[other]);
  }

  /** A word of a command line, quoted where a shell would take it apart. */
  function quote(word) {
    return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  }

  function flag(name, value) {
    const word = quote(String(value));
    return word.startsWith('-') ? `--${name}=${word}` : `--${name} ${word}`;
  }

  /** The parts of a `lop-sweep run` with every field that differs from its default, also dtype and device. */
  function command(sweep, cell) {
    const config = configuration(sweep, cell);
    const flags = sweep.about.config
      .filter((field) => field.name !== 'seed' && !isDefault(config, field))
      .map(({ name }) => flag(name, config[name]));
    const provenance = sweep.about.provenance[sweep.arrays.provenance[cell]];
    if (provenance.dtype === 'float32') flags.push('--dtype float32');
    if (provenance.device.startsWith('cuda')) flags.push('--device cuda');
    return ['lop-sweep run', `--seed ${config.seed}`, ...flags, `--out rerun-seed-${config.seed}`];
  }

  Object.assign(lop, { configuration, isDefault, command });
})();
