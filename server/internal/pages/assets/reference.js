// What the reference can do beyond being read: call the REST door, and show a type's fields in the place where it is used.
'use strict';

// indent lays out JSON without reading it, so that it stays what the server sent: numbers keep their digits and members
// that stand twice are seen twice. A text that is no JSON comes out with its blanks moved at worst.
function indent(text) {
  let out = '', depth = 0, within = false;
  const line = () => '\n' + '  '.repeat(depth);
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (within) {
      out += c;
      if (c === '\\') out += text[++i] ?? '';
      else if (c === '"') within = false;
    } else if (c === '"') {
      out += c;
      within = true;
    } else if (c === '{' || c === '[') {
      const rest = /^\s*[}\]]/.exec(text.slice(i + 1, i + 100));
      if (rest) {
        out += c + rest[0].trim();
        i += rest[0].length;
      } else {
        depth++;
        out += c + line();
      }
    } else if (c === '}' || c === ']') {
      depth = Math.max(depth - 1, 0);
      out += line() + c;
    } else if (c === ',') {
      out += c + line();
    } else if (c === ':') {
      out += ': ';
    } else if (!/\s/.test(c)) {
      out += c;
    }
  }
  return out;
}

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

// verdict says in a few words what the answer means; the page has the rest.
function verdict(answer) {
  const said = [`${answer.status}, after ${answer.milliseconds.toFixed(1)} ms`];
  if (answer.header['X-Request-Id']) said.push(`request id ${answer.header['X-Request-Id']}`);
  if (answer.header['Idempotency-Replayed']) said.push('given before, to the same key');
  return said.join('; ');
}

async function call(form) {
  const fields = new FormData(form);
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(fields.get('path:' + name)));
  const response = await fetch('docs/try', {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({
      method: form.dataset.method,
      path,
      body: fields.get('body') ?? '',
      authorization: fields.get('authorization') ?? '',
      idempotency_key: fields.get('idempotency_key') ?? '',
    }),
  });
  if (!response.ok) throw new Error(`this page's own request was refused: ${response.status} ${await response.text()}`);
  return response.json();
}

for (const form of document.querySelectorAll('form.try')) {
  const result = form.querySelector('.result');
  const button = form.querySelector('button');
  form.hidden = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const answer = await call(form);
      const isJSON = (answer.header['Content-Type'] ?? '').startsWith('application/json');
      result.replaceChildren(element('p', verdict(answer)), element('pre', isJSON ? indent(answer.body) : answer.body));
      result.dataset.status = answer.status;
    } catch (failure) {
      result.replaceChildren(element('p', `No answer: ${failure.message}`));
    } finally {
      button.disabled = false;
    }
  });
}

// toggle events do not bubble, but they can be caught on their way down.
document.addEventListener('toggle', (event) => {
  const nested = event.target;
  if (!nested.open || !nested.matches('details.nested') || nested.querySelector('.fields')) return;
  const fields = document.getElementById(nested.dataset.type)?.querySelector('.fields');
  if (!fields) return;
  const copy = fields.cloneNode(true);
  for (const inner of copy.querySelectorAll('details')) inner.open = false;
  nested.querySelector('a').replaceWith(copy); // which leads to the same fields
}, true);
