// Elements, and words on them that stay true when the language changes.

import { t } from './i18n.js';

/** Where words may stand, by the attribute of h() that puts them there. */
const PLACES = { say: 'text', label: 'aria-label', hint: 'placeholder', tip: 'title' };

/**
 * An element with its children. Attributes are set as they are (`true`: without a value; null, undefined and false: not
 * at all), but for `on` ({event: listener}) and for those that take words, as KEY or [KEY, VALUES]: `say` (its text),
 * `label` (aria-label), `hint` (placeholder), `tip` (title).
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name in PLACES) {
      const [key, values] = [value].flat();
      put(node, PLACES[name], key, values);
    } else {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
  node.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** Makes the element's text words. Values may be functions: they are asked in each language anew. */
export function say(node, key, values) {
  put(node, 'text', key, values);
  return node;
}

function put(node, place, key, values) {
  node.words ??= {};
  node.words[place] = [key, values];
  node.dataset.words = '';
  speak(node, place);
}

function speak(node, place) {
  const [key, values] = node.words[place];
  if (place === 'text') node.textContent = t(key, values);
  else node.setAttribute(place, t(key, values));
}

/** Says everything on the page again, in the language of now. */
export function sayAgain() {
  for (const node of document.querySelectorAll('[data-words]')) {
    for (const place of Object.keys(node.words)) speak(node, place);
  }
}
