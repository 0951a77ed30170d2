// The vendors' own clients, unmodified, read the scripted provider directly. xAI, Moonshot, DeepInfra and
// Baseten name OpenAI's client as theirs, and Azure's is part of it.
import Groq from 'groq-sdk';
import { Mistral } from '@mistralai/mistralai';
import OpenAI, { AzureOpenAI } from 'openai';
import Perplexity from '@perplexity-ai/perplexity_ai';
import { assert, check, finish, input, look, lookTool, script } from './harness.mjs';

const apiKey = 'key-0123456789abcdef';
const user = (settings) => [{ role: 'user', content: script(settings) }];
const tools = [{ type: 'function', function: { name: lookTool.name, description: lookTool.description, parameters: lookTool.schema } }];
const options = { apiKey, maxRetries: 0 };

// One set of checks for the clients that look like OpenAI's.
const likeOpenAI = {
  groq: [new Groq({ ...options, baseURL: `${input.url}/groq` }), 'openai/gpt-oss-120b'],
  xai: [new OpenAI({ ...options, baseURL: `${input.url}/xai/v1` }), 'grok-4.6'],
  moonshot: [new OpenAI({ ...options, baseURL: `${input.url}/moonshot/v1` }), 'kimi-k3'],
  deepinfra: [new OpenAI({ ...options, baseURL: `${input.url}/deepinfra/v1/openai` }), 'deepseek-ai/DeepSeek-V3.2'],
  baseten: [new OpenAI({ ...options, baseURL: `${input.url}/baseten/v1` }), 'openai/gpt-oss-120b'],
  azure: [new AzureOpenAI({ ...options, endpoint: `${input.url}/azure/acme`, apiVersion: '2025-01-01-preview', deployment: 'gpt-4o' }), 'gpt-4o'],
};
for (const [name, [client, model]] of Object.entries(likeOpenAI)) {
  check(`${name} whole`, async () => {
    const r = await client.chat.completions.create({ model, messages: user('text=good%20day,in=40,cached=8,out=7') });
    assert.equal(r.choices[0].message.content, 'good day');
    assert.equal(r.usage.prompt_tokens, 40);
    assert.equal(r.usage.completion_tokens, 7);
    assert.equal(r.usage.cached_tokens ?? r.usage.prompt_tokens_details.cached_tokens, 8);
  });
  check(`${name} stream`, async () => {
    let text = '';
    let usage;
    let finish;
    const stream = await client.chat.completions.create({ model, messages: user('tokens=20,in=40,out=20'), stream: true, stream_options: { include_usage: true } });
    for await (const c of stream) {
      text += c.choices[0]?.delta?.content ?? '';
      finish = c.choices[0]?.finish_reason ?? finish;
      usage = c.usage ?? c.x_groq?.usage ?? c.choices[0]?.usage ?? usage;
    }
    assert.ok(text.length > 20);
    assert.equal(finish, 'stop');
    assert.equal(usage.completion_tokens, 20);
  });
  check(`${name} tool call`, async () => {
    const r = await client.chat.completions.create({ model, messages: user(look), tools });
    assert.deepEqual(r.choices[0].message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]), [['look', { q: 'x' }]]);
  });
  check(`${name} rate limit`, async () => {
    await assert.rejects(client.chat.completions.create({ model, messages: user('error=rate_limit,retry=3s') }), (e) => e.status === 429 && e.headers.get('retry-after') === '3');
  });
}

const mistral = new Mistral({ apiKey, serverURL: `${input.url}/mistral` });
check('mistral whole', async () => {
  const r = await mistral.chat.complete({ model: 'mistral-small-latest', messages: user('text=good%20day,in=40,out=7,think,reasoning=3') });
  assert.deepEqual(r.choices[0].message.content.map((p) => p.type), ['thinking', 'text']);
  assert.equal(r.choices[0].message.content[1].text, 'good day');
  assert.equal(r.usage.promptTokens, 40);
  assert.equal(r.usage.completionTokens, 7);
});
check('mistral stream', async () => {
  let text = '';
  let usage;
  for await (const { data } of await mistral.chat.stream({ model: 'mistral-small-latest', messages: user('tokens=20,in=40,out=20,think,reasoning=3') })) {
    const content = data.choices[0].delta.content;
    text += typeof content === 'string' ? content : '';
    usage = data.usage ?? usage;
  }
  assert.ok(text.length > 20);
  assert.equal(usage.completionTokens, 20);
});
check('mistral tool call', async () => {
  for (const [settings, want] of [[look, '{"q":"x"}'], [`${look},objects`, { q: 'x' }]]) { // it may do either
    const r = await mistral.chat.complete({ model: 'mistral-small-latest', messages: user(settings), tools });
    const call = r.choices[0].message.toolCalls[0];
    assert.match(call.id, /^[a-zA-Z0-9]{9}$/);
    assert.deepEqual([call.function.name, call.function.arguments], ['look', want]);
  }
});
check('mistral models', async () => {
  const r = await mistral.models.list();
  assert.ok(r.data.some((m) => m.id === 'mistral-small-latest'));
});
check('mistral rate limit', async () => {
  await assert.rejects(mistral.chat.complete({ model: 'mistral-small-latest', messages: user('error=rate_limit') }), (e) => e.statusCode === 429);
});
check('mistral wrong key', async () => {
  const wrong = new Mistral({ apiKey: 'invalid-key', serverURL: `${input.url}/mistral` });
  await assert.rejects(wrong.models.list(), (e) => e.statusCode === 401 && e.body.includes('"detail":"Invalid API Key"'));
});

const perplexity = new Perplexity({ ...options, baseURL: `${input.url}/perplexity` });
check('perplexity whole', async () => {
  const r = await perplexity.chat.completions.create({ model: 'sonar', messages: user('text=good%20day,in=40,out=7') });
  assert.equal(r.choices[0].message.content, 'good day');
  assert.equal(r.usage.prompt_tokens, 40);
  assert.ok(r.usage.cost.total_cost > 0);
  assert.equal(r.search_results[0].url, 'https://one.example/');
});
check('perplexity stream', async () => {
  let text = '';
  let last;
  for await (const c of await perplexity.chat.completions.create({ model: 'sonar', messages: user('tokens=20,in=40,out=20'), stream: true })) {
    text += c.choices[0].delta.content ?? '';
    last = c;
  }
  assert.equal(last.object, 'chat.completion.done');
  assert.equal(last.choices[0].message.content, text);
  assert.equal(last.usage.completion_tokens, 20);
});
check('perplexity no money', async () => {
  await assert.rejects(perplexity.chat.completions.create({ model: 'sonar', messages: user('error=quota') }), (e) => e.status === 401 && e.error.error.type === 'insufficient_quota');
});

await finish();
