// What the checks share. Each file reads one JSON object from the standard input (where the router and
// the scripted provider are, and API keys), and prints one JSON line per check:
// {"check": "...", "ok": true} or {"check": "...", "ok": false, "why": "..."}.
import assert from 'node:assert/strict';

export { assert };

export const input = await new Promise((resolve) => {
  let text = '';
  process.stdin.on('data', (piece) => (text += piece));
  process.stdin.on('end', () => resolve(JSON.parse(text)));
});

const checks = [];

export const check = (name, run) => checks.push({ name, run });

// finish runs the checks one after the other and says what came of each.
export async function finish() {
  for (const { name, run } of checks) {
    let why;
    try {
      await run();
    } catch (e) {
      why = `${e.constructor.name}: ${e.message}`.slice(0, 2000);
    }
    console.log(JSON.stringify(why === undefined ? { check: name, ok: true } : { check: name, ok: false, why }));
  }
}

// script is a user's text that tells the scripted provider what to answer.
export const script = (settings, text = 'hello') => `script:${settings} ${text}`;

// ownModel is a model of the same provider that nothing else asks for. The router remembers failures of a credential
// by model, and lets it cool down after a rate limit.
let models = 0;
export const ownModel = (model) => `${model}-${process.pid}-${++models}`;

// raises checks the class, the status and other members of a client's exception.
export async function raises(kind, want, run) {
  let error;
  try {
    await run();
  } catch (e) {
    error = e;
  }
  assert.ok(error, `no exception, want ${kind}`);
  assert.equal(error.constructor.name, kind, `${error.constructor.name}: ${error.message}`);
  for (const [name, value] of Object.entries(want)) {
    if (value instanceof RegExp) assert.match(String(error[name]), value, name);
    else assert.deepEqual(error[name], value, `${name}: ${error.message}`);
  }
  return error;
}

export const lookTool = { name: 'look', description: 'Looks something up.', schema: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] } };
export const look = 'tool=look,args=%7B%22q%22%3A%22x%22%7D';
