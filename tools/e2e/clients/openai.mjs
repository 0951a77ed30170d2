// OpenAI's SDK, unmodified, beyond chat completions (../sdk does those): responses, embeddings, images.
import OpenAI from 'openai';
import { assert, check, finish, input, look, lookTool, ownModel, raises, script } from './harness.mjs';

const openai = new OpenAI({ baseURL: `${input.baseURL}/v1`, apiKey: input.key, maxRetries: 0 });
const tools = [{ type: 'function', name: lookTool.name, description: lookTool.description, parameters: lookTool.schema, strict: false }];

for (const [way, model] of [['passed', 'openai/gpt-4o-mini'], ['converted', 'anthropic/claude-haiku-4-5']]) {
  check(`${way}: whole response`, async () => {
    const r = await openai.responses.create({ model, input: script('text=good%20day,in=40,out=7') });
    assert.equal(r.status, 'completed');
    assert.equal(r.output_text, 'good day');
    assert.deepEqual([r.usage.input_tokens, r.usage.output_tokens, r.usage.total_tokens], [40, 7, 47]);
  });
  check(`${way}: cached tokens are part of the input`, async () => {
    const r = await openai.responses.create({ model, input: script('text=hi,in=40,cached=30,out=7') });
    assert.equal(r.usage.input_tokens, 40);
    assert.equal(r.usage.input_tokens_details.cached_tokens, 30);
  });
  check(`${way}: streamed response`, async () => {
    const stream = openai.responses.stream({ model, input: script('tokens=20,in=40,out=20') });
    let text = '';
    let number = -1;
    for await (const e of stream) {
      assert.ok(e.sequence_number > number, 'sequence numbers go up');
      number = e.sequence_number;
      if (e.type === 'response.output_text.delta') text += e.delta;
    }
    const r = await stream.finalResponse();
    assert.equal(r.output_text, text);
    assert.equal(r.usage.output_tokens, 20);
  });
  check(`${way}: tool call and its result`, async () => {
    const question = [{ role: 'user', content: script(look) }];
    const r = await openai.responses.create({ model, input: question, tools });
    const call = r.output.find((o) => o.type === 'function_call');
    assert.equal(call.name, 'look');
    assert.deepEqual(JSON.parse(call.arguments), { q: 'x' });
    const next = await openai.responses.create({
      model, tools,
      input: [...question, ...r.output, { type: 'function_call_output', call_id: call.call_id, output: 'found' }, { role: 'user', content: script('text=done') }],
    });
    assert.equal(next.output_text, 'done');
  });
  check(`${way}: an error is the SDK's exception`, () => raises('RateLimitError', { status: 429 }, () =>
    openai.responses.create({ model: ownModel(model), input: script('error=rate_limit') })));
  check(`${way}: a cut stream does not end well`, async () => {
    await assert.rejects(async () => {
      let completed = false;
      for await (const e of await openai.responses.create({ model, input: script('tokens=9,cutat=4'), stream: true })) {
        completed ||= e.type === 'response.completed';
        if (e.type === 'error' || e.type === 'response.failed') throw new Error(e.type);
      }
      if (!completed) throw new Error('no end');
    });
  });
}
for (const [name, body] of [['previous_response_id', { previous_response_id: 'resp_1' }], ['background', { background: true }], ['store', { store: true }]]) {
  check(`${name} is refused by name`, async () => {
    const e = await raises('BadRequestError', { status: 400, param: name }, () => openai.responses.create({ model: 'openai/gpt-4o-mini', input: 'hi', ...body }));
    assert.match(e.message, new RegExp(name));
  });
}
check('embeddings as numbers', async () => {
  const r = await openai.embeddings.create({ model: 'openai/text-embedding-3-small', input: ['a', 'b'], encoding_format: 'float' });
  assert.equal(r.data.length, 2);
  assert.ok(r.data[1].embedding.length > 1);
  assert.ok(r.usage.prompt_tokens > 0);
});
check('embeddings as the SDK asks for them', async () => { // base64, which it decodes
  const r = await openai.embeddings.create({ model: 'openai/text-embedding-3-small', input: 'a' });
  assert.equal(typeof r.data[0].embedding[0], 'number');
});
check('embeddings, converted', async () => {
  const r = await openai.embeddings.create({ model: 'google-ai-studio/gemini-embedding-001', input: ['a', 'b'] });
  assert.equal(r.data.length, 2);
  assert.equal(typeof r.data[1].embedding[0], 'number');
});
check('images', async () => {
  const r = await openai.images.generate({ model: 'openai/gpt-image-2', prompt: 'a red kite', n: 2 });
  assert.equal(r.data.length, 2);
  assert.ok(r.data[0].b64_json.length > 0);
  assert.ok(r.usage.output_tokens > 0);
});
check('images, converted', async () => {
  const r = await openai.images.generate({ model: 'google-ai-studio/gemini-3.1-flash-image', prompt: 'a red kite' });
  assert.ok(r.data[0].b64_json.length > 0);
});
check('models', async () => {
  const ids = [];
  for await (const m of openai.models.list()) ids.push(m.id);
  assert.ok(ids.includes('policy/main'), ids.join(' '));
  assert.ok(ids.some((id) => id.startsWith('google-ai-studio/')), 'models of each provider with a credential');
});
for (const model of input.models) {
  check(`${model}: whole, streamed and with a tool`, async () => {
    const messages = [{ role: 'user', content: script('text=good%20day,in=40,out=7') }];
    const r = await openai.chat.completions.create({ model, messages });
    assert.equal(r.choices[0].message.content, 'good day');
    assert.deepEqual([r.usage.prompt_tokens, r.usage.completion_tokens], [40, 7]);
    let text = '';
    let usage;
    for await (const c of await openai.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } })) {
      text += c.choices[0]?.delta?.content ?? '';
      usage = c.usage ?? usage;
    }
    assert.equal(text, 'good day');
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [40, 7]);
    const called = await openai.chat.completions.create({
      model, messages: [{ role: 'user', content: script(look) }],
      tools: [{ type: 'function', function: { name: lookTool.name, description: lookTool.description, parameters: lookTool.schema } }],
    });
    assert.equal(called.choices[0].finish_reason, 'tool_calls');
    assert.deepEqual(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments), { q: 'x' });
  });
}

await finish();
