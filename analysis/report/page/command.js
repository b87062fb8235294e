/** The command that computes one cell again. */
(function () {
  'use strict';

  const lop = window.lop;

  /** A cell's whole configuration, by field; the seed as text, because it may have more digits than a number holds. */
  function configuration(sweep, cell) {
    const config = {};
    for (const name of Object.keys(sweep.about.config)) config[name] = lop.fieldValue(sweep, name, cell);
    config.seed = sweep.about.seeds[sweep.arrays.seed[cell]];
    return config;
  }

  function isDefault(sweep, config, name) {
    const usual = name === 'fresh_steps' ? config.steps : sweep.about.config[name];
    return Number(config[name]) === Number(usual);
  }

  /** `lop-sweep run` with every field that differs from its default, and how it was computed where that does. */
  function command(sweep, cell) {
    const config = configuration(sweep, cell);
    const flags = Object.keys(config)
      .filter((name) => name !== 'seed' && !isDefault(sweep, config, name))
      .map((name) => (config[name] < 0 ? `--${name}=${config[name]}` : `--${name} ${config[name]}`));
    const how = sweep.about.how[sweep.arrays.how[cell]];
    if (how.dtype === 'float32') flags.push('--dtype float32');
    if (how.device.startsWith('cuda')) flags.push('--device cuda');
    return ['lop-sweep run', `--seed ${config.seed}`, ...flags, `--out rerun-seed-${config.seed}`].join(' ');
  }

  Object.assign(lop, { configuration, isDefault, command });
})();
