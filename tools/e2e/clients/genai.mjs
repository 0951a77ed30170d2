// Google's SDK, unmodified, reads the scripted provider directly: what our adapter is tested against is
// what Google's own client understands.
import { GoogleGenAI } from '@google/genai';
import { assert, check, finish, input, look, lookTool, script } from './harness.mjs';

const model = 'gemini-3.8-flash';
const ai = new GoogleGenAI({ apiKey: input.geminiKey, apiVersion: 'v1beta', httpOptions: { baseUrl: input.geminiURL } });
const contents = (settings) => script(settings);

check('generateContent', async () => {
  const r = await ai.models.generateContent({ model, contents: contents('text=good%20day,in=40,out=7') });
  assert.equal(r.text, 'good day');
  assert.equal(r.usageMetadata.promptTokenCount, 40);
  assert.equal(r.usageMetadata.candidatesTokenCount, 7);
});
check('generateContentStream', async () => {
  let text = '';
  let last;
  for await (const c of await ai.models.generateContentStream({ model, contents: contents('tokens=20,out=20') })) {
    text += c.text ?? '';
    last = c;
  }
  assert.ok(text.length > 20);
  assert.equal(last.usageMetadata.candidatesTokenCount, 20);
  assert.equal(last.candidates[0].finishReason, 'STOP');
});
check('function call', async () => {
  const r = await ai.models.generateContent({
    model, contents: contents(look),
    config: { tools: [{ functionDeclarations: [{ name: lookTool.name, description: lookTool.description, parametersJsonSchema: lookTool.schema }] }] },
  });
  assert.deepEqual(r.functionCalls.map((c) => [c.name, c.args]), [['look', { q: 'x' }]]);
});
check('countTokens', async () => {
  const r = await ai.models.countTokens({ model, contents: 'hello' });
  assert.ok(r.totalTokens > 0);
});
check('embedContent', async () => {
  const r = await ai.models.embedContent({ model: 'gemini-embedding-001', contents: ['a', 'b'] });
  assert.equal(r.embeddings.length, 2);
  assert.ok(r.embeddings[0].values.length > 1);
});
check('an error is an ApiError with its status', async () => {
  await assert.rejects(ai.models.generateContent({ model, contents: contents('error=rate_limit') }), (e) => e.status === 429);
});
check('two function calls in a stream', async () => {
  const calls = [];
  for await (const c of await ai.models.generateContentStream({
    model, contents: contents(`${look},calls=2`),
    config: { tools: [{ functionDeclarations: [{ name: lookTool.name, description: lookTool.description, parametersJsonSchema: lookTool.schema }] }] },
  })) calls.push(...(c.functionCalls ?? []));
  assert.deepEqual(calls.map((c) => c.args), [{ q: 'x' }, { q: 'x' }]);
});
check('models are listed', async () => {
  const names = [];
  for await (const m of await ai.models.list()) names.push(m.name);
  assert.ok(names.includes(`models/${model}`), names.join(' '));
});
check('who leaves ends the call', async () => {
  const leaving = new AbortController();
  let chunks = 0;
  await assert.rejects(async () => {
    for await (const c of await ai.models.generateContentStream({
      model, contents: contents('tokens=500,delay=20ms'), config: { abortSignal: leaving.signal },
    })) if (c && ++chunks === 2) leaving.abort();
  });
  assert.ok(chunks < 500, `${chunks} chunks`);
});

await finish();
