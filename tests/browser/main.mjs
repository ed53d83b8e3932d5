// The run: `main.mjs BINARY [CASE...]` inside the namespaces that `run` made, or `main.mjs --list`.
import { mkdirSync, writeFileSync } from 'node:fs';

import { CASES, Scratch, command, issueCertificates } from './harness.mjs';
import { SERVER } from './network.mjs';
import './case_tools.mjs';
import './case_names.mjs';
import './case_relay.mjs';

const WHOLE_RUN = Number(process.env.BROWSER_DEADLINE ?? 170) * 1000;
const ONE_CASE = 60000;

const matches = (name, pattern) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`).test(name);
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
  if (why) {
    console.log(`FAIL ${name}: ${why}`);
    for (const child of context.processes) console.log(`  ${child.child.spawnargs[4]}'s last lines:\n${indent(child.output(), 25)}`);
  } else {
    console.log(`ok ${name} (${facts}; ${took} s)`);
  }
  await stopAll(context);
  return !why;
};

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
  const context = prepare(binary);
  const end = Date.now() + WHOLE_RUN;
  let failed = 0;
  for (const one of chosen) failed += (await runCase(context, one, end)) ? 0 : 1;
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  return failed ? 1 : 0;
};

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));
process.exit(await main(process.argv.slice(2)));
