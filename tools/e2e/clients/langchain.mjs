// LangChain, unmodified, with the settings that its users write.
import { AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatAnthropic } from '@langchain/anthropic';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';
import { assert, check, finish, input, look, lookTool, ownModel, script } from './harness.mjs';

const configuration = { baseURL: `${input.baseURL}/v1` };
const chat = (model, more = {}) => new ChatOpenAI({ model, apiKey: input.key, maxRetries: 0, configuration, ...more });
const claude = (model) => new ChatAnthropic({ model, apiKey: input.key, anthropicApiUrl: input.baseURL, maxRetries: 0, maxTokens: 100 });
const looking = tool(async () => 'found', { name: lookTool.name, description: lookTool.description, schema: z.object({ q: z.string() }) });

for (const [name, usual, making] of [
  ['ChatOpenAI, passed', 'openai/gpt-4o-mini', chat],
  ['ChatOpenAI, converted', 'anthropic/claude-haiku-4-5', chat],
  ['ChatOpenAI over responses', 'openai/gpt-4o-mini', (model) => chat(model, { useResponsesApi: true })],
  ['ChatAnthropic, passed', 'anthropic/claude-haiku-4-5', claude],
  ['ChatAnthropic, converted', 'openai/gpt-4o-mini', claude],
]) {
  const make = (model = usual) => making(model);
  check(`${name}: invoke`, async () => {
    const r = await make().invoke([new HumanMessage(script('text=good%20day,in=40,out=7'))]);
    assert.equal(r.text, 'good day');
    assert.equal(r.usage_metadata.input_tokens, 40);
    assert.equal(r.usage_metadata.output_tokens, 7);
  });
  check(`${name}: stream`, async () => {
    let whole;
    for await (const piece of await make().stream([new HumanMessage(script('tokens=20,in=40,out=20'))])) whole = whole ? whole.concat(piece) : piece;
    assert.ok(whole.text.length > 20);
    // Anthropic's first event counts one token, which LangChain adds to the last count, also without us.
    assert.ok([20, name === 'ChatAnthropic, passed' ? 21 : 20].includes(whole.usage_metadata.output_tokens), String(whole.usage_metadata.output_tokens));
  });
  check(`${name}: a tool and its result`, async () => {
    const model = make().bindTools([looking]);
    const question = new HumanMessage(script(look));
    const r = await model.invoke([question]);
    assert.deepEqual(r.tool_calls.map((c) => [c.name, c.args]), [['look', { q: 'x' }]]);
    const next = await model.invoke([question, new AIMessage(r), new ToolMessage({ content: 'found', tool_call_id: r.tool_calls[0].id }), new HumanMessage(script('text=done'))]);
    assert.equal(next.text, 'done');
  });
  check(`${name}: an error says its status`, async () => {
    for (const [settings, status, kind] of [['error=bad_request', 400, 'BadRequestError'], ['error=rate_limit', 429, 'RateLimitError'], ['error=server', 502, 'InternalServerError']]) {
      await assert.rejects(make(ownModel(usual)).invoke([new HumanMessage(script(settings))]), (e) => e.status === status && e.constructor.name === kind, settings);
    }
  });
  check(`${name}: a stream that breaks off raises`, () => assert.rejects(async () => {
    for await (const piece of await make().stream([new HumanMessage(script('tokens=9,error=server,at=4'))])) assert.ok(piece);
  }));
  check(`${name}: who leaves ends the call`, async () => {
    const leaving = new AbortController();
    let pieces = 0;
    await assert.rejects(async () => {
      for await (const piece of await make().stream([new HumanMessage(script('tokens=500,delay=20ms'))], { signal: leaving.signal })) {
        if (piece.text && ++pieces === 2) leaving.abort();
      }
    });
    assert.ok(pieces < 500, `${pieces} pieces`);
  });
  check(`${name}: a model that is not there`, () => assert.rejects(make(ownModel(usual)).invoke([new HumanMessage(script('error=model'))]), (e) => e.status === 404 && e.constructor.name === 'NotFoundError'));
}
check('who leaves ends the call', async () => {
  const leaving = new AbortController();
  const headers = { 'x-claviger-session': 'abort-langchain' };
  await assert.rejects(async () => {
    const stream = await chat('openai/gpt-4o-mini', { configuration: { ...configuration, defaultHeaders: headers } })
      .stream([new HumanMessage(script('tokens=500,delay=20ms'))], { signal: leaving.signal });
    for await (const piece of stream) if (piece.text) leaving.abort();
  });
});
check('OpenAIEmbeddings', async () => {
  const vectors = await new OpenAIEmbeddings({ model: 'openai/text-embedding-3-small', apiKey: input.key, maxRetries: 0, configuration }).embedDocuments(['a', 'b']);
  assert.equal(vectors.length, 2);
  assert.equal(typeof vectors[0][0], 'number');
});

await finish();
