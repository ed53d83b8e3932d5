// The words of the page. Each file in words/ holds pairs: key -> [English, Korean], with {places} for values.

export const LANGUAGES = { en: 'English', ko: '한국어' };
const FILES = ['shell', 'servers', 'test', 'nat', 'call', 'server'];

const ORDER = Object.keys(LANGUAGES);
const pairs = new Map();
let current = chosen();

function chosen() {
  const kept = stored('language');
  if (kept in LANGUAGES) return kept;
  const wanted = navigator.languages ?? [navigator.language];
  return wanted.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES) ?? 'en';
}

/** What the browser has kept for this page, if it may keep anything. */
export function stored(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name) ?? '';
    localStorage.setItem(name, value);
  } catch { /* Private windows may refuse: nothing is remembered then. */ }
  return value ?? '';
}

/** Fetches the words. To be awaited before the first t(). */
export async function loadWords() {
  const files = FILES.map(async (name) => {
    const answer = await fetch(new URL(`words/${name}.json`, import.meta.url));
    if (!answer.ok) throw new Error(`words/${name}.json: ${answer.status}`);
    return answer.json();
  });
  for (const file of await Promise.all(files)) {
    for (const [key, pair] of Object.entries(file)) pairs.set(key, pair);
  }
  document.documentElement.lang = current;
}

/** The words for a key, with values in their {places}. A value that is a function is called. */
export function t(key, values = {}) {
  const words = pairs.get(key)?.[ORDER.indexOf(current)] ?? key;
  return words.replace(/\{(\w+)\}/g, (place, name) => {
    const value = values[name];
    return typeof value === 'function' ? value() : value ?? place;
  });
}

export function language() {
  return current;
}

export function setLanguage(name) {
  current = name;
  stored('language', name);
  document.documentElement.lang = name;
}
