// Drives a running router with the official OpenAI SDK, unmodified. Reads one JSON object from the
// standard input (where the router is, API keys, names of policies), and prints one JSON line per check:
// {"check": "...", "ok": true} or {"check": "...", "ok": false, "why": "..."}.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const input = await new Promise((resolve) => {
  let text = '';
  process.stdin.on('data', (piece) => (text += piece));
  process.stdin.on('end', () => resolve(JSON.parse(text)));
});

let fetches = 0;
const counted = (...args) => {
  fetches++;
  return fetch(...args);
};

function client(apiKey = input.key, options = {}) {
  return new OpenAI({ baseURL: `${input.baseURL}/v1`, apiKey, maxRetries: 0, fetch: counted, ...options });
}

const openai = client();
const model = 'openai/gpt-4o-mini';
const ask = (script, content = 'hello') => [{ role: 'user', content: script ? `script:${script} ${content}` : content }];
// The router remembers failures of a credential by model, so a check that makes one fail takes a model of its own.
let models = 0;
const ownModel = () => `openai/case-${++models}`;
const tools = [{
  type: 'function',
  function: { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: { q: { type: 'string' } } } },
}];
const look = 'tool=look,args=%7B%22q%22%3A%22x%22%7D';

const checks = [];
const check = (name, run) => checks.push({ name, run });

// raises checks the class, the status and the parts of the SDK's exception.
async function raises(kind, want, run) {
  let error;
  try {
    await run();
  } catch (e) {
    error = e;
  }
  assert.ok(error, `no exception, want ${kind.name}`);
  assert.equal(error.constructor.name, kind.name, `${error.constructor.name}: ${error.message}`);
  for (const [name, value] of Object.entries(want)) {
    if (value instanceof RegExp) assert.match(String(error[name]), value, name);
    else assert.deepEqual(error[name], value, `${name}: ${error.message}`);
  }
  return error;
}

// gather reads a stream to its end.
async function gather(stream) {
  const out = { text: '', finish: null, usages: [], empty: 0, chunks: 0, roles: [], tools: [] };
  for await (const chunk of stream) {
    out.chunks++;
    assert.equal(chunk.object, 'chat.completion.chunk');
    if (chunk.usage) out.usages.push(chunk.usage);
    if (chunk.choices.length === 0) out.empty++;
    for (const choice of chunk.choices) {
      out.text += choice.delta.content ?? '';
      if (choice.delta.role) out.roles.push(choice.delta.role);
      if (choice.finish_reason) out.finish = choice.finish_reason;
      for (const t of choice.delta.tool_calls ?? []) {
        out.tools[t.index] ??= { id: '', name: '', arguments: '' };
        out.tools[t.index].id += t.id ?? '';
        out.tools[t.index].name += t.function?.name ?? '';
        out.tools[t.index].arguments += t.function?.arguments ?? '';
      }
    }
  }
  return out;
}

// The same for a model of the caller's dialect, whose bytes pass, and for one that is converted.
for (const [way, target] of [['passed', model], ['converted', 'policy/claude']]) {
  check(`${way}: whole answer`, async () => {
    const { data, response } = await openai.chat.completions
      .create({ model: target, messages: ask('text=good%20day,in=40,out=7') }).withResponse();
    assert.equal(response.status, 200);
    assert.match(response.headers.get('x-request-id'), /^req_/);
    assert.equal(data._request_id, response.headers.get('x-request-id'));
    assert.equal(data.object, 'chat.completion');
    assert.equal(data.choices.length, 1);
    assert.equal(data.choices[0].message.role, 'assistant');
    assert.equal(data.choices[0].message.content, 'good day');
    assert.equal(data.choices[0].finish_reason, 'stop');
    assert.deepEqual([data.usage.prompt_tokens, data.usage.completion_tokens, data.usage.total_tokens], [40, 7, 47]);
  });
  check(`${way}: stream hides usage from who did not ask`, async () => {
    const got = await gather(await openai.chat.completions.create({ model: target, stream: true, messages: ask('text=one%20two%20three,in=10') }));
    assert.equal(got.text, 'one two three');
    assert.equal(got.finish, 'stop');
    assert.ok(got.roles.includes('assistant'));
    assert.deepEqual(got.usages, []);
    assert.equal(got.empty, 0);
  });
  check(`${way}: stream shows usage to who asked`, async () => {
    const got = await gather(await openai.chat.completions.create({
      model: target, stream: true, stream_options: { include_usage: true }, messages: ask('text=one%20two%20three,in=10,out=5'),
    }));
    assert.equal(got.text, 'one two three');
    assert.equal(got.usages.length, 1);
    assert.deepEqual([got.usages[0].prompt_tokens, got.usages[0].completion_tokens, got.usages[0].total_tokens], [10, 5, 15]);
    assert.equal(got.empty, 1);
  });
  check(`${way}: tool calls`, async () => {
    const got = await openai.chat.completions.create({ model: target, tools, messages: ask(`${look},calls=2`) });
    assert.equal(got.choices[0].finish_reason, 'tool_calls');
    const calls = got.choices[0].message.tool_calls;
    assert.equal(calls.length, 2);
    assert.notEqual(calls[0].id, calls[1].id);
    for (const call of calls) assert.deepEqual([call.type, call.function.name, JSON.parse(call.function.arguments)], ['function', 'look', { q: 'x' }]);
  });
  check(`${way}: tool calls in a stream`, async () => {
    const got = await gather(await openai.chat.completions.create({ model: target, tools, stream: true, messages: ask(`${look},calls=2`) }));
    assert.equal(got.finish, 'tool_calls');
    assert.equal(got.tools.length, 2);
    for (const t of got.tools) assert.deepEqual([t.name, JSON.parse(t.arguments), t.id.length > 0], ['look', { q: 'x' }, true]);
  });
  check(`${way}: a conversation with a tool's result`, async () => {
    const got = await openai.chat.completions.create({
      model: target, tools,
      messages: [
        { role: 'system', content: 'Be short.' }, ...ask('text=done'),
        { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"q":"x"}' } }] },
        { role: 'tool', tool_call_id: 'call_1', content: 'a door' },
      ],
    });
    assert.ok(got.choices[0].message.content.length > 0);
  });
  check(`${way}: the SDK's own stream helper`, async () => {
    const runner = openai.chat.completions.stream({ model: target, tools, stream_options: { include_usage: true }, messages: ask(`text=one%20two,${look},in=10,out=20`) });
    const whole = await runner.finalChatCompletion();
    assert.equal(whole.choices[0].message.content, 'one two');
    assert.equal(whole.choices[0].message.tool_calls[0].function.name, 'look');
    assert.equal(whole.choices[0].finish_reason, 'tool_calls');
    assert.equal((await runner.totalUsage()).total_tokens, 30);
  });
  check(`${way}: a bound on the answer`, async () => {
    const got = await openai.chat.completions.create({ model: target, max_completion_tokens: 3, messages: ask('tokens=50') });
    assert.equal(got.choices[0].finish_reason, 'length');
  });
  check(`${way}: an error inside a stream`, async () => {
    const stream = await openai.chat.completions.create({ model: target, stream: true, messages: ask('tokens=9,error=server,at=3') });
    let text = '';
    const error = await raises(OpenAI.APIError, { code: 'answer_broken_off', type: /./, message: /broke off/ }, async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
    });
    assert.ok(text.length > 0, 'nothing came before the error');
    assert.match(error.error.request_id, /^req_/);
    assert.equal(error.error.blame, 'provider');
  });
  check(`${way}: a stream that is cut`, async () => {
    const stream = await openai.chat.completions.create({ model: target, stream: true, messages: ask('tokens=9,cutat=3') });
    await raises(OpenAI.APIError, { code: 'answer_broken_off' }, () => gather(stream));
  });
  check(`${way}: abort`, async () => {
    const stream = await openai.chat.completions.create(
      { model: target, stream: true, messages: ask('tokens=3000,delay=10ms') }, { headers: { 'x-claviger-session': `abort-${way}` } });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) stream.controller.abort();
    assert.ok(chunks >= 5 && chunks < 3000, `${chunks} chunks`);
  });
  check(`${way}: abort before the first byte`, async () => {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), 100);
    await raises(OpenAI.APIUserAbortError, {}, () => openai.chat.completions.create(
      { model: target, messages: ask('hang') }, { signal: controller.signal, headers: { 'x-claviger-session': `abort-early-${way}` } }));
    clearTimeout(timer);
  });
}

// Models and policies.
check('a policy as model', async () => {
  const { data, response } = await openai.chat.completions.create({ model: 'policy/main', messages: ask('text=hi') }).withResponse();
  assert.equal(data.choices[0].message.content, 'hi');
  assert.equal(response.headers.get('x-claviger-model'), model);
  assert.equal(response.headers.get('x-claviger-class'), 'own');
});
check('the default policy, when no model is named', async () => {
  const got = await openai.chat.completions.create({ model: '', messages: ask('text=hi') });
  assert.equal(got.choices[0].message.content, 'hi');
});
check('no model and no default policy', () => raises(OpenAI.BadRequestError, { status: 400, code: 'model_required', param: 'model' },
  () => client(input.keyWithoutPolicy).chat.completions.create({ model: '', messages: ask() })));
check('tags, metadata and user pass', async () => {
  const got = await openai.chat.completions.create({ model, user: 'u-1', metadata: { team: 'search' }, messages: ask('text=hi') },
    { headers: { 'x-claviger-tags': 'env=prod' } });
  assert.equal(got.choices[0].message.content, 'hi');
});
check('several choices pass', async () => {
  const got = await openai.chat.completions.create({ model, n: 2, messages: ask('text=hi') });
  assert.equal(got.choices.length, 2);
});
check('a refusal', async () => {
  const got = await openai.chat.completions.create({ model, messages: ask('refusal') });
  assert.equal(got.choices[0].message.content, null);
  assert.match(got.choices[0].message.refusal, /can not help/);
});
check('a caller that speaks to a provider with CR LF, pings and odd pieces', async () => {
  for (const script of ['crlf', 'pings', 'split=7', 'early,first=50ms']) {
    const got = await gather(await openai.chat.completions.create({ model, stream: true, messages: ask(`text=one%20two,${script}`) }));
    assert.deepEqual([got.text, got.finish], ['one two', 'stop'], script);
  }
});
check('list of models', async () => {
  const ids = [];
  for await (const m of openai.models.list()) {
    assert.deepEqual([m.object, typeof m.created, typeof m.owned_by], ['model', 'number', 'string']);
    ids.push(m.id);
  }
  for (const want of [model, 'policy/main', 'policy/claude']) assert.ok(ids.includes(want), `${want} is not in ${ids}`);
  assert.ok(!ids.includes('policy/secret-plan'), 'another organization\'s policy is listed');
});
check('one model', async () => {
  const got = await openai.models.retrieve(model);
  assert.deepEqual([got.id, got.object, got.owned_by], [model, 'model', 'openai']);
});
check('one policy as a model', async () => {
  const got = await openai.models.retrieve('policy/main');
  assert.deepEqual([got.id, got.owned_by], ['policy/main', 'policy']);
});
check('a model that does not exist', () => raises(OpenAI.NotFoundError, { status: 404, code: 'model_not_found', param: 'model' }, () => openai.models.retrieve('openai/none')));
check('another organization\'s policy among the models', () => raises(OpenAI.NotFoundError, { status: 404 }, () => openai.models.retrieve('policy/secret-plan')));

// Exceptions by type.
const create = (body, c = openai) => c.chat.completions.create({ model, messages: ask(), ...body });
for (const [name, key, code] of [
  ['no API key', ' ', 'api_key_missing'], ['a provider\'s key', 'sk-0123456789abcdef', 'api_key_invalid'],
  ['an API key nobody has', input.unknownKey, 'api_key_invalid'], ['a revoked API key', input.revokedKey, 'api_key_revoked'],
  ['an expired API key', input.expiredKey, 'api_key_expired'],
]) {
  check(name, () => raises(OpenAI.AuthenticationError, { status: 401, code, type: 'authentication_error', requestID: /^req_/ }, () => create({}, client(key))));
  check(`${name}, streaming`, () => raises(OpenAI.AuthenticationError, { status: 401, code }, () => create({ stream: true }, client(key))));
  check(`${name}, models`, () => raises(OpenAI.AuthenticationError, { status: 401, code }, () => client(key).models.list()));
}
check('a model without its provider', () => raises(OpenAI.NotFoundError, { status: 404, code: 'model_not_found', param: 'model', message: /gpt-4o-mini/ }, () => create({ model: 'gpt-4o-mini' })));
check('an unknown provider', () => raises(OpenAI.NotFoundError, { status: 404, code: 'model_not_found' }, () => create({ model: 'nobody/x' })));
check('an unknown policy', () => raises(OpenAI.NotFoundError, { status: 404, code: 'policy_not_found', param: 'model' }, () => create({ model: 'policy/none' })));
check('another organization\'s policy', () => raises(OpenAI.NotFoundError, { status: 404, code: 'policy_not_found' }, () => create({ model: 'policy/secret-plan' })));
check('a route that is not supported', () => raises(OpenAI.NotFoundError, { status: 404, code: 'route_not_supported' }, () => openai.moderations.create({ input: 'x' })));
check('files', () => raises(OpenAI.NotFoundError, { status: 404, code: 'route_not_supported' }, () => openai.files.list()));
check('a field of the wrong type', () => raises(OpenAI.BadRequestError, { status: 400, code: 'invalid_field', param: 'messages' }, () => create({ messages: 'hello' })));
check('no messages', () => raises(OpenAI.BadRequestError, { status: 400, code: 'invalid_field', param: 'messages' }, () => create({ messages: [] })));
check('what cannot be converted is named', () => raises(OpenAI.BadRequestError, { status: 400, param: /logit_bias|n/ }, () => create({ model: 'policy/claude', logit_bias: { 1: 2 } })));
for (const stream of [false, true]) {
  const s = stream ? ', streaming' : '';
  const fails = (script) => create({ stream, model: ownModel(), messages: ask(script) });
  check(`the provider finds a mistake${s}`, () => raises(OpenAI.BadRequestError,
    { status: 400, code: 'invalid_value', param: 'temperature', type: 'invalid_request_error', message: /Invalid 'temperature'/ }, () => fails('error=bad_request')));
  check(`the context is too long${s}`, () => raises(OpenAI.BadRequestError, { status: 400, code: 'context_length_exceeded', param: 'messages' }, () => fails('error=context_length')));
  check(`the content is refused${s}`, () => raises(OpenAI.BadRequestError, { status: 400, code: 'content_policy_violation' }, () => fails('error=content')));
  check(`the provider does not know the model${s}`, () => raises(OpenAI.NotFoundError, { status: 404, code: 'model_not_found', param: 'model' }, () => fails('error=model')));
  check(`the provider limits the rate${s}`, async () => {
    const error = await raises(OpenAI.RateLimitError, { status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' }, () => fails('error=rate_limit,retry=1500ms'));
    assert.equal(error.headers.get('retry-after'), '2');
    // The router leaves a credential alone up to a tenth longer than it is asked to, and says so.
    const wait = Number(error.headers.get('retry-after-ms'));
    assert.ok(wait > 1400 && wait <= 1650, `${wait} ms`);
  });
  for (const [script, status, code] of [['server', 502, 'provider_failed'], ['gateway', 502, 'provider_failed'], ['overloaded', 503, 'provider_overloaded'], ['timeout', 504, 'provider_timed_out']]) {
    check(`the provider fails: ${script}${s}`, () => raises(OpenAI.InternalServerError, { status, code }, () => fails(`error=${script}`)));
  }
  check(`the provider closes the connection${s}`, () => raises(OpenAI.InternalServerError, { status: 502, code: 'provider_unreachable' }, () => fails('cut=1,reset')));
  if (stream) check('an error in the stream before any content', () => raises(OpenAI.InternalServerError, { status: 502, code: 'provider_failed' }, () => fails('error=server,at=0')));
  else check('a whole answer that is cut', () => raises(OpenAI.InternalServerError, { status: 502, code: 'provider_unreachable' }, () => fails('cut=20')));
  check(`no credential${s}`, () => raises(OpenAI.UnprocessableEntityError, { status: 422, code: 'no_usable_credential' }, () => create({ stream, model: 'anthropic/claude-haiku-4-5' })));
  check(`the provider refuses the credential, which is not the caller's key${s}`, async () => {
    const error = await raises(OpenAI.InternalServerError, { status: 502, code: 'credential_rejected' }, () => create({ stream }, client(stream ? input.wornKeyStreaming : input.wornKey)));
    assert.equal(error.error.details.credential, 'worn out');
    assert.equal(error.headers.get('x-should-retry'), 'false');
  });
}

// What the SDK does by itself.
check('the SDK tries again when the rate is limited', async () => {
  const before = fetches;
  await raises(OpenAI.RateLimitError, { status: 429 }, () => create({ model: ownModel(), messages: ask('error=rate_limit,retry=20ms') }, client(input.key, { maxRetries: 2 })));
  assert.equal(fetches - before, 3);
});
check('the SDK does not try again when the quota is used up', async () => {
  const before = fetches;
  await raises(OpenAI.RateLimitError, { status: 429, code: 'insufficient_quota', type: 'insufficient_quota' }, () => create({}, client(input.emptyKey, { maxRetries: 2 })));
  assert.equal(fetches - before, 1);
});
check('the SDK does not try again when there is no credential', async () => {
  const before = fetches;
  await raises(OpenAI.UnprocessableEntityError, { status: 422 }, () => create({ model: 'anthropic/claude-haiku-4-5' }, client(input.key, { maxRetries: 2 })));
  assert.equal(fetches - before, 1);
});
check('the SDK does not try again with a bad API key', async () => {
  const before = fetches;
  await raises(OpenAI.AuthenticationError, { status: 401 }, () => create({}, client(input.revokedKey, { maxRetries: 2 })));
  assert.equal(fetches - before, 1);
});

for (const { name, run } of checks) {
  let why;
  const timer = new Promise((_, reject) => setTimeout(() => reject(new Error('took longer than 10 s')), 10_000).unref());
  try {
    await Promise.race([run(), timer]);
  } catch (e) {
    why = e?.stack?.split('\n').slice(0, 6).join('\n') ?? String(e);
  }
  console.log(JSON.stringify(why === undefined ? { check: name, ok: true } : { check: name, ok: false, why }));
}
process.exit(0);
