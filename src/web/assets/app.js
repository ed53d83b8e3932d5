// The shell: tabs, language, colours, and the key that opens the door to credentials.

import { h, say, sayAgain } from './dom.js';
import { LANGUAGES, language, loadWords, setLanguage, stored, t } from './i18n.js';
import { Door } from './door.js';

/**
 * Each tab is a module NAME.js that exports mount(root, ctx), called once when the tab is opened for the first time; what
 * it puts into `root` stays while other tabs are looked at. It may return { shown(), hidden() }.
 */
const TABS = ['test', 'call', 'nat', 'server'];
const THEMES = ['auto', 'light', 'dark'];

const views = document.getElementById('views');
const door = new Door();
const open = new Map();
let current;

/** What a tab is given. */
function context(name) {
  return {
    name,
    /** Words for a key; and an element whose words follow the language. */
    t, h, say,
    get lang() { return language(); },
    /** The iceServers that the server hands to this page: Promise<RTCIceServer[]>. Asks for the key if there is none. */
    ice: () => door.ice(),
    /** The API key that was given, or ''. */
    get key() { return door.key; },
    /** The URL of something beside this module: url('ice') is /page/ice. */
    url: (path) => new URL(path, import.meta.url),
    /** What stands behind # in the address: URLSearchParams. */
    get fragment() { return fragment(); },
    /** Goes to another tab. */
    go: (tab) => { location.hash = tab; },
  };
}

function fragment() {
  return new URLSearchParams(location.hash.slice(1));
}

/** #test, #key=...&tab=nat, or #room=... , which is the tab of calls. */
function wanted() {
  const asked = fragment();
  const named = TABS.find((name) => asked.has(name)) ?? asked.get('tab') ?? (asked.has('room') ? 'call' : '');
  return TABS.includes(named) ? named : TABS[0];
}

/** A key in the address is kept for this window, and not in the history. */
function takeKey() {
  const asked = fragment();
  if (!asked.has('key')) return;
  door.key = asked.get('key');
  asked.delete('key');
  const rest = asked.toString().replace(/=(?=&|$)/g, '');
  history.replaceState(null, '', rest ? `#${rest}` : location.pathname + location.search);
}

async function show() {
  takeKey();
  const name = wanted();
  if (name === current) return;
  open.get(current)?.tab?.hidden?.();
  current = name;
  for (const link of document.querySelectorAll('#tabs a')) {
    link.setAttribute('aria-selected', String(link.dataset.tab === name));
  }
  for (const { root } of open.values()) root.hidden = true;
  const known = open.get(name);
  if (known) {
    known.root.hidden = false;
    known.tab?.shown?.();
    return;
  }
  const root = h('section', { class: `view view-${name}`, role: 'tabpanel', 'aria-labelledby': `tab-${name}` });
  const entry = { root, tab: undefined };
  open.set(name, entry);
  views.append(root);
  try {
    const { mount } = await import(`./${name}.js`);
    entry.tab = await mount(root, context(name));
  } catch (error) {
    root.append(h('p', { class: 'card note bad', say: ['shell.broken', { why: String(error) }] }));
  }
}

function tabLink(name) {
  return h('a', {
    href: `#${name}`, id: `tab-${name}`, role: 'tab', 'data-tab': name, 'aria-selected': 'false', say: `tab.${name}`,
  });
}

function languageButton() {
  const other = () => Object.keys(LANGUAGES).find((name) => name !== language());
  const button = h('button', { class: 'tool', type: 'button', label: 'shell.language' });
  const label = () => { button.textContent = LANGUAGES[other()]; button.lang = other(); };
  button.addEventListener('click', () => {
    setLanguage(other());
    sayAgain();
    label();
    dispatchEvent(new Event('language'));
  });
  label();
  return button;
}

function themeButton() {
  const button = h('button', { class: 'tool', type: 'button', tip: 'shell.colours' });
  const set = (theme) => {
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.dataset.theme = theme;
    say(button, `theme.${theme}`);
  };
  button.addEventListener('click', () => {
    const next = THEMES[(THEMES.indexOf(button.dataset.theme) + 1) % THEMES.length];
    stored('theme', next);
    set(next);
  });
  const kept = stored('theme');
  set(THEMES.includes(kept) ? kept : 'auto');
  return button;
}

async function start() {
  await loadWords();
  document.getElementById('tabs').append(...TABS.map(tabLink));
  document.getElementById('tools').append(languageButton(), themeButton());
  document.getElementById('foot').append(h('p', { say: 'shell.foot' }));
  addEventListener('hashchange', show);
  if (!('RTCPeerConnection' in window)) {
    views.append(h('p', { class: 'card note bad', say: 'shell.no-webrtc' }));
    return;
  }
  await show();
}

start().catch((error) => {
  views.append(h('p', { class: 'card note bad' }, String(error)));
});
