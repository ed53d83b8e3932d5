// Which servers are tested: those that the server hands out, or others that somebody types in.

import { readUrl } from './servers.js';

/** A node to show, and servers(): what is to be used now. */
export function chosenServers(ctx) {
  const { h } = ctx;
  const url = h('input', { type: 'text', hint: 'choice.url-hint', autocapitalize: 'off', spellcheck: 'false', id: 'other-url' });
  const username = h('input', { type: 'text', autocapitalize: 'off', autocomplete: 'off', spellcheck: 'false', id: 'other-username' });
  const credential = h('input', { type: 'text', autocapitalize: 'off', autocomplete: 'off', spellcheck: 'false', id: 'other-credential' });
  const node = h('details', {}, h('summary', { say: 'choice.title' }),
    h('div', { class: 'view' },
      h('p', { class: 'soft small', say: 'choice.lead' }),
      h('label', { class: 'field' }, h('span', { say: 'choice.url' }), url),
      h('div', { class: 'halves' },
        h('label', { class: 'field' }, h('span', { say: 'choice.username' }), username),
        h('label', { class: 'field' }, h('span', { say: 'choice.credential' }), credential))));
  const servers = async () => {
    const text = url.value.trim();
    if (!text || !node.open) return ctx.ice();
    return text.startsWith('{') || text.startsWith('[')
      ? fromJson(ctx, text)
      : [fromUrls(ctx, text.split(/[\s,]+/), username.value.trim(), credential.value.trim())];
  };
  return { node, servers };
}

/** iceServers as applications have them: { "iceServers": [...] }, or the list alone, or one of its entries. */
function fromJson(ctx, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(ctx.t('choice.not-json', { why: error.message }));
  }
  // Browsers refuse an entry without a URL.
  const list = [value.iceServers ?? value].flat().filter(({ urls }) => [urls].flat().length > 0);
  for (const { urls } of list) for (const url of [urls].flat()) check(ctx, String(url));
  return list;
}

function fromUrls(ctx, urls, username, credential) {
  for (const url of urls) check(ctx, url);
  return urls.some((url) => readUrl(url).kind === 'turn') ? { urls, username, credential } : { urls };
}

function check(ctx, url) {
  if (!readUrl(url)?.way) throw new Error(ctx.t('choice.not-url', { url }));
}
