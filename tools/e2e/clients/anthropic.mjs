// Anthropic's SDK, unmodified: the same calls to a model whose bytes pass and to one that is converted.
import Anthropic from '@anthropic-ai/sdk';
import { assert, check, finish, input, look, lookTool, ownModel, raises, script } from './harness.mjs';

const client = (apiKey = input.key, options = {}) => new Anthropic({ baseURL: input.baseURL, apiKey, maxRetries: 0, ...options });
const anthropic = client();
const tools = [{ name: lookTool.name, description: lookTool.description, input_schema: lookTool.schema }];
const ask = (settings) => [{ role: 'user', content: script(settings) }];

for (const [way, model] of [['passed', 'anthropic/claude-haiku-4-5'], ['converted', 'openai/gpt-4o-mini']]) {
  check(`${way}: whole message`, async () => {
    const { data, response } = await anthropic.messages
      .create({ model, max_tokens: 100, messages: ask('text=good%20day,in=40,out=7') }).withResponse();
    assert.equal(response.status, 200);
    assert.match(response.headers.get('x-request-id') ?? response.headers.get('request-id'), /^req_/);
    assert.equal(data.type, 'message');
    assert.equal(data.role, 'assistant');
    assert.deepEqual(data.content.map((b) => [b.type, b.text]), [['text', 'good day']]);
    assert.equal(data.stop_reason, 'end_turn');
    assert.equal(data.usage.input_tokens, 40);
    assert.equal(data.usage.output_tokens, 7);
  });
  check(`${way}: cached tokens stand beside input tokens`, async () => {
    const data = await anthropic.messages.create({ model, max_tokens: 100, messages: ask('text=hi,in=40,cached=30,out=7') });
    assert.equal(data.usage.input_tokens, 10);
    assert.equal(data.usage.cache_read_input_tokens, 30);
  });
  check(`${way}: stream`, async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 100, messages: ask('tokens=20,in=40,out=20') });
    let text = '';
    stream.on('text', (piece) => (text += piece));
    const message = await stream.finalMessage();
    assert.equal(message.content.length, 1);
    assert.equal(message.content[0].text, text);
    assert.ok(text.length > 20);
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.output_tokens, 20);
  });
  check(`${way}: stream events come in their order`, async () => {
    const names = [];
    for await (const e of await anthropic.messages.create({ model, max_tokens: 100, stream: true, messages: ask('tokens=3') })) {
      if (e.type !== 'ping' && names.at(-1) !== e.type) names.push(e.type);
    }
    assert.deepEqual(names, ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']);
  });
  check(`${way}: tool call`, async () => {
    const data = await anthropic.messages.create({ model, max_tokens: 100, tools, messages: ask(look) });
    assert.equal(data.stop_reason, 'tool_use');
    const call = data.content.find((b) => b.type === 'tool_use');
    assert.equal(call.name, 'look');
    assert.deepEqual(call.input, { q: 'x' });
    const next = await anthropic.messages.create({
      model, max_tokens: 100, tools,
      messages: [...ask(look), { role: 'assistant', content: data.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'found' }, { type: 'text', text: script('text=done') }] }],
    });
    assert.equal(next.content.at(-1).text, 'done');
  });
  check(`${way}: two tool calls in a stream`, async () => {
    const message = await anthropic.messages.stream({ model, max_tokens: 100, tools, messages: ask(`${look},calls=2`) }).finalMessage();
    assert.deepEqual(message.content.filter((b) => b.type === 'tool_use').map((b) => b.input), [{ q: 'x' }, { q: 'x' }]);
    assert.equal(message.stop_reason, 'tool_use');
  });
  check(`${way}: pictures and a system text go in`, async () => {
    const data = await anthropic.messages.create({
      model, max_tokens: 100, system: [{ type: 'text', text: 'be brief', cache_control: { type: 'ephemeral' } }],
      messages: [{ role: 'user', content: [
        { type: 'image', source: { type: 'base64', media_type: 'image/gif', data: 'R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==' } },
        { type: 'text', text: script('text=a%20cat') }] }],
    });
    assert.equal(data.content[0].text, 'a cat');
  });
  check(`${way}: a maximum is a stop reason`, async () => {
    const data = await anthropic.messages.create({ model, max_tokens: 3, messages: ask('tokens=9') });
    assert.equal(data.stop_reason, 'max_tokens');
  });
  check(`${way}: a rate limit is a RateLimitError`, async () => {
    const e = await raises('RateLimitError', { status: 429, type: 'rate_limit_error' }, () => anthropic.messages.create({ model: ownModel(model), max_tokens: 9, messages: ask('error=rate_limit,retry=3s') }));
    assert.match(e.headers.get('retry-after'), /^[34]$/); // the router waits up to a tenth longer than it is asked to
  });
  check(`${way}: a bad request is a BadRequestError`, () => raises('BadRequestError', { status: 400 }, () =>
    anthropic.messages.create({ model, max_tokens: 9, messages: ask('error=bad_request') })));
  check(`${way}: an error in the stream raises`, async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 100, messages: ask('tokens=9,error=overloaded,at=4') });
    await assert.rejects(stream.finalMessage(), (e) => e instanceof Anthropic.APIError);
  });
  check(`${way}: a cut stream raises`, async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 100, messages: ask('tokens=9,cutat=4') });
    await assert.rejects(stream.finalMessage());
  });
  check(`${way}: who leaves ends the call`, async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 100, messages: ask('tokens=500,delay=20ms') },
      { headers: { 'x-claviger-session': `abort-anthropic-${way}` } });
    await assert.rejects((async () => {
      for await (const e of stream) if (e.type === 'content_block_delta') stream.abort();
    })());
  });
}

check('thinking comes with its signature and goes back', async () => {
  const model = 'anthropic/claude-haiku-4-5';
  const thinking = { type: 'enabled', budget_tokens: 1024 };
  const data = await anthropic.messages.create({ model, max_tokens: 2000, thinking, messages: ask('text=hi,reasoning=5,think') });
  const block = data.content.find((b) => b.type === 'thinking');
  assert.ok(block.thinking.length > 0);
  assert.ok(block.signature.length > 0);
  const next = await anthropic.messages.create({
    model, max_tokens: 2000, thinking,
    messages: [...ask('text=hi'), { role: 'assistant', content: data.content }, { role: 'user', content: script('text=again') }],
  });
  assert.equal(next.content.at(-1).text, 'again');
});
check('count_tokens', async () => {
  const count = await anthropic.messages.countTokens({ model: 'anthropic/claude-haiku-4-5', messages: ask('in=123') });
  assert.ok(count.input_tokens > 0);
});
check('count_tokens of a provider that cannot is refused by name', () => raises('BadRequestError', { status: 400 }, () =>
  anthropic.messages.countTokens({ model: 'groq/openai/gpt-oss-20b', messages: ask('in=1') })));
check('models are listed in Anthropic\'s shape', async () => {
  const ids = [];
  for await (const m of anthropic.models.list()) {
    assert.equal(m.type, 'model');
    ids.push(m.id);
  }
  assert.ok(ids.some((id) => id.startsWith('anthropic/')));
  assert.ok(ids.some((id) => id.startsWith('policy/')));
});
check('an unknown key is an AuthenticationError', () => raises('AuthenticationError', { status: 401, type: 'authentication_error' }, () =>
  client(input.unknownKey).messages.create({ model: 'anthropic/claude-haiku-4-5', max_tokens: 9, messages: ask('text=hi') })));
check('an unknown model is a NotFoundError', () => raises('NotFoundError', { status: 404, type: 'not_found_error' }, () =>
  anthropic.messages.create({ model: 'nobody/nothing', max_tokens: 9, messages: ask('text=hi') })));
check('the token of Claude Code is accepted as a bearer', async () => {
  const data = await new Anthropic({ baseURL: input.baseURL, apiKey: null, authToken: input.key, maxRetries: 0 })
    .messages.create({ model: 'anthropic/claude-haiku-4-5', max_tokens: 9, messages: ask('text=hi') });
  assert.equal(data.content[0].text, 'hi');
});

await finish();
