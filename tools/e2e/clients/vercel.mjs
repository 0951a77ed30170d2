// The Vercel AI SDK, unmodified, with the three providers that its users take.
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';
import { assert, check, finish, input, look, lookTool, ownModel, script } from './harness.mjs';

const baseURL = `${input.baseURL}/v1`;
const compatible = createOpenAICompatible({ name: 'claviger', baseURL, apiKey: input.key, includeUsage: true });
const openai = createOpenAI({ baseURL, apiKey: input.key });
const anthropic = createAnthropic({ baseURL, apiKey: input.key });
const tools = { look: tool({ description: lookTool.description, inputSchema: jsonSchema(lookTool.schema) }) };

for (const [name, make, id] of [
  ['compatible, passed', compatible, 'openai/gpt-4o-mini'],
  ['compatible, converted', compatible, 'anthropic/claude-haiku-4-5'],
  ['openai over responses', openai, 'openai/gpt-4o-mini'],
  ['openai over responses, converted', openai, 'anthropic/claude-haiku-4-5'],
  ['openai over chat', openai.chat, 'openai/gpt-4o-mini'],
  ['anthropic, passed', anthropic, 'anthropic/claude-haiku-4-5'],
  ['anthropic, converted', anthropic, 'openai/gpt-4o-mini'],
]) {
  const model = make(id);
  check(`${name}: generateText`, async () => {
    const r = await generateText({ model, maxRetries: 0, prompt: script('text=good%20day,in=40,out=7') });
    assert.equal(r.text, 'good day');
    assert.equal(r.usage.inputTokens, 40);
    assert.equal(r.usage.outputTokens, 7);
    assert.equal(r.finishReason, 'stop');
  });
  check(`${name}: streamText`, async () => {
    const r = streamText({ model, maxRetries: 0, prompt: script('tokens=20,in=40,out=20'), onError: () => {} });
    let text = '';
    for await (const piece of r.textStream) text += piece;
    assert.ok(text.length > 20);
    assert.equal((await r.usage).outputTokens, 20);
  });
  check(`${name}: tool call`, async () => {
    const r = await generateText({ model, maxRetries: 0, tools, prompt: script(look) });
    assert.deepEqual(r.toolCalls.map((c) => [c.toolName, c.input]), [['look', { q: 'x' }]]);
    assert.equal(r.finishReason, 'tool-calls');
  });
  check(`${name}: an error in the stream is told`, async () => {
    let told;
    const r = streamText({ model, maxRetries: 0, prompt: script('tokens=9,error=overloaded,at=4'), onError: ({ error }) => { told = error; } });
    const kinds = [];
    for await (const part of r.fullStream) kinds.push(part.type);
    assert.ok(told && kinds.includes('error') && kinds.includes('text-delta'), kinds.join(' '));
  });
  check(`${name}: who leaves ends the stream`, async () => {
    const leaving = new AbortController();
    let pieces = 0;
    let aborted = false;
    const r = streamText({
      model, maxRetries: 0, prompt: script('tokens=500,delay=20ms'), abortSignal: leaving.signal, onAbort: () => { aborted = true; }, onError: () => {},
    });
    for await (const part of r.fullStream) if (part.type === 'text-delta' && ++pieces === 2) leaving.abort();
    assert.ok(aborted && pieces < 500, `${pieces} pieces`);
  });
  check(`${name}: an error is an APICallError`, async () => {
    await assert.rejects(generateText({ model: make(ownModel(id)), maxRetries: 0, prompt: script('error=rate_limit') }), (e) => APICallError.isInstance(e) && e.statusCode === 429 && e.isRetryable);
  });
}
check('who leaves ends the call', async () => {
  const leaving = new AbortController();
  let aborted = false;
  const r = streamText({
    model: anthropic('anthropic/claude-haiku-4-5'), maxRetries: 0, prompt: script('tokens=500,delay=20ms'), abortSignal: leaving.signal,
    headers: { 'x-claviger-session': 'abort-vercel' }, onAbort: () => { aborted = true; }, onError: () => {},
  });
  for await (const piece of r.fullStream) if (piece.type === 'text-delta') leaving.abort();
  assert.ok(aborted);
});
check('compatible: embedMany', async () => {
  const r = await embedMany({ model: compatible.embeddingModel('openai/text-embedding-3-small'), values: ['a', 'b'], maxRetries: 0 });
  assert.equal(r.embeddings.length, 2);
});
check('compatible: embedMany, converted', async () => {
  const r = await embedMany({ model: compatible.embeddingModel('google-ai-studio/gemini-embedding-001'), values: ['a', 'b'], maxRetries: 0 });
  assert.equal(r.embeddings.length, 2);
});
check('an unknown key is an APICallError', async () => {
  const stranger = createOpenAICompatible({ name: 'claviger', baseURL, apiKey: input.unknownKey });
  await assert.rejects(generateText({ model: stranger('openai/gpt-4o-mini'), maxRetries: 0, prompt: 'hi' }), (e) => APICallError.isInstance(e) && e.statusCode === 401 && !e.isRetryable);
});

await finish();
