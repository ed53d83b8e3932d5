// The run: `main.mjs BINARY [CASE...]` as root, or `main.mjs --list`.
//
// Cases run in lanes beside each other, each lane in namespaces of its own for processes, mounts and the network: whatever it
// starts or makes is private to it, and ends with it. A lane ends with this process, however that ends.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { CASES } from './cases.mjs';

const ALONE = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--net', '--fork', '--kill-child', '--mount-proc'];
const PROGRAM = fileURLToPath(new URL('lane.mjs', import.meta.url));

const matches = (name, pattern) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`).test(name);

/** Runs some cases; resolves to how many have passed. What is printed comes in whole lines. */
const runLane = (binary, names) => new Promise((resolve, refuse) => {
  const lane = spawn('setpriv', [...ALONE, process.execPath, PROGRAM, binary, ...names], { stdio: ['ignore', 'pipe', 'inherit'] });
  let passed = 0;
  let rest = '';
  lane.stdout.setEncoding('utf8');
  lane.stdout.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    passed += lines.filter((line) => line.startsWith('ok ')).length;
    for (const line of lines) console.log(line);
  });
  lane.on('error', refuse);
  lane.on('close', () => resolve(passed));
});

const main = async ([binary, ...patterns]) => {
  const chosen = CASES.filter(({ name }) => !patterns.length || patterns.some((pattern) => matches(name, pattern)));
  if (binary === '--list') {
    for (const { name } of chosen) console.log(name);
    return 0;
  }
  if (!chosen.length) {
    console.error(`no case is named ${patterns.join(' or ')}; --list shows them`);
    return 2;
  }
  const lanes = [...new Set(chosen.map(({ lane }) => lane))];
  const names = (lane) => chosen.filter((one) => one.lane === lane).map(({ name }) => name);
  const passed = await Promise.all(lanes.map((lane) => runLane(binary, names(lane))));
  const all = passed.reduce((sum, count) => sum + count, 0);
  console.log(`${all} passed, ${chosen.length - all} failed`);
  return all === chosen.length ? 0 : 1;
};

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));
process.exit(await main(process.argv.slice(2)));
