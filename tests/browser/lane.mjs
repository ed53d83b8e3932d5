// Some cases, one after the other: `lane.mjs BINARY CASE...`, inside the namespaces that `main.mjs` made.
import { mkdirSync, writeFileSync } from 'node:fs';

import { CASES } from './cases.mjs';
import { Scratch, command, issueCertificates } from './harness.mjs';
import { SERVER } from './network.mjs';

const WHOLE_RUN = Number(process.env.BROWSER_DEADLINE ?? 170) * 1000;
const ONE_CASE = 60000;

const indent = (text, lines) => text.trim().split('\n').slice(-lines).map((line) => `    ${line}`).join('\n');

const prepare = (binary) => {
  // `ip netns` keeps its names here, and `ip netns exec` reads what a namespace has of /etc there.
  mkdirSync('/run/netns', { recursive: true });
  command(['mount', '-t', 'tmpfs', 'none', '/run/netns']);
  // What is left behind goes with the mount.
  command(['mount', '-t', 'tmpfs', 'none', '/dev/shm']);
  // A case that has names has a name server beside the server.
  writeFileSync('/dev/shm/resolv.conf', `nameserver ${SERVER}\noptions timeout:2 attempts:2\n`);
  command(['mount', '--bind', '/dev/shm/resolv.conf', '/etc/resolv.conf']);
  const scratch = new Scratch('/dev/shm');
  return { binary, scratch, certificates: issueCertificates(scratch), processes: [] };
};

const within = (promise, milliseconds) => {
  let timer;
  const late = new Promise((_, no) => {
    timer = setTimeout(() => no(new Error(`not done within ${Math.round(milliseconds / 1000)} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const stopAll = async (context) => {
  for (const child of context.processes.splice(0)) await child.stop();
};

const runCase = async (context, { name, check }, end) => {
  const started = Date.now();
  let why;
  let facts;
  try {
    if (started >= end) throw new Error(`not started, the whole run's ${WHOLE_RUN / 1000} s are over`);
    facts = await within(check(context), Math.min(ONE_CASE, end - started));
    const trouble = context.processes.flatMap((child) => child.trouble?.() ?? []);
    if (trouble.length) why = `the server has trouble: ${trouble[0]}`;
  } catch (error) {
    why = error.stack?.split('\n').slice(0, 4).join('\n') ?? String(error);
  }
  const took = ((Date.now() - started) / 1000).toFixed(1);
  const logs = () => context.processes.map((child) => `  ${child.name}'s last lines:\n${indent(child.output(), 25)}`);
  console.log(why ? [`FAIL ${name}: ${why}`, ...logs()].join('\n') : `ok ${name} (${facts}; ${took} s)`);
  await stopAll(context);
};

const main = async ([binary, ...names]) => {
  const context = prepare(binary);
  const end = Date.now() + WHOLE_RUN;
  for (const one of CASES.filter(({ name }) => names.includes(name))) await runCase(context, one, end);
};

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));
await main(process.argv.slice(2));
process.exit(0);
