// AWS's SDK, unmodified, reads the scripted provider directly: it signs its calls and checks the frames.
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand, InvokeModelCommand } from '@aws-sdk/client-bedrock-runtime';
import { assert, check, finish, input, look, lookTool, script } from './harness.mjs';

const client = new BedrockRuntimeClient({
  region: input.awsRegion, endpoint: input.bedrockURL, maxAttempts: 1,
  credentials: { accessKeyId: input.awsAccessKeyID, secretAccessKey: input.awsSecretAccessKey },
});
const modelId = 'us.anthropic.claude-haiku-4-5-20251001-v1:0';
const messages = (settings) => [{ role: 'user', content: [{ text: script(settings) }] }];
const toolConfig = { tools: [{ toolSpec: { name: lookTool.name, description: lookTool.description, inputSchema: { json: lookTool.schema } } }] };

check('Converse', async () => {
  const r = await client.send(new ConverseCommand({ modelId, messages: messages('text=good%20day,in=40,out=7') }));
  assert.equal(r.output.message.content[0].text, 'good day');
  assert.equal(r.stopReason, 'end_turn');
  assert.deepEqual([r.usage.inputTokens, r.usage.outputTokens], [40, 7]);
});
check('ConverseStream', async () => {
  const r = await client.send(new ConverseStreamCommand({ modelId, messages: messages('tokens=20,out=20') }));
  let text = '';
  let usage;
  let stop;
  for await (const e of r.stream) {
    text += e.contentBlockDelta?.delta?.text ?? '';
    usage = e.metadata?.usage ?? usage;
    stop = e.messageStop?.stopReason ?? stop;
  }
  assert.ok(text.length > 20);
  assert.equal(usage.outputTokens, 20);
  assert.equal(stop, 'end_turn');
});
check('tool use', async () => {
  const r = await client.send(new ConverseCommand({ modelId, messages: messages(look), toolConfig }));
  assert.equal(r.stopReason, 'tool_use');
  const call = r.output.message.content.find((b) => b.toolUse).toolUse;
  assert.equal(call.name, 'look');
  assert.deepEqual(call.input, { q: 'x' });
});
check('throttling is the SDK\'s exception', async () => {
  await assert.rejects(client.send(new ConverseCommand({ modelId, messages: messages('error=rate_limit') })), (e) => e.name === 'ThrottlingException');
});
check('an exception in the stream is the SDK\'s exception', async () => {
  const r = await client.send(new ConverseStreamCommand({ modelId, messages: messages('tokens=9,error=rate_limit,at=3') }));
  await assert.rejects(async () => { for await (const e of r.stream) assert.ok(e); }, (e) => /throttl/i.test(e.name));
});
check('a wrong secret is refused', async () => {
  const wrong = new BedrockRuntimeClient({
    region: input.awsRegion, endpoint: input.bedrockURL, maxAttempts: 1,
    credentials: { accessKeyId: input.awsAccessKeyID, secretAccessKey: 'wrong' },
  });
  await assert.rejects(wrong.send(new ConverseCommand({ modelId, messages: messages('text=hi') })), (e) => e.$metadata.httpStatusCode === 403);
});
check('who leaves ends the call', async () => { // the SDK's signal is for the time before the first event
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(), 100);
  await assert.rejects(client.send(new ConverseStreamCommand({ modelId, messages: messages('hang') }), { abortSignal: leaving.signal }), (e) => e.name === 'AbortError');
});
check('vectors', async () => {
  const r = await client.send(new InvokeModelCommand({
    modelId: 'amazon.titan-embed-text-v2:0', contentType: 'application/json', body: JSON.stringify({ inputText: 'a' }),
  }));
  const vector = JSON.parse(new TextDecoder().decode(r.body));
  assert.ok(vector.embedding.length > 1);
  assert.ok(vector.inputTextTokenCount > 0);
});

await finish();
