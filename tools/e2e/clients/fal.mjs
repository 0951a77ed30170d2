// fal's own client against the scripted provider, directly. Its addresses are fixed, so the calls are
// brought there by its own setting for the function that fetches.
import { createFalClient } from '@fal-ai/client';

import { assert, check, finish, input, raises } from './harness.mjs';

const make = (credentials) =>
  createFalClient({
    credentials,
    fetch: (url, options) => fetch(String(url).replace('https://queue.fal.run', input.falURL), options),
  });
const fal = make(input.falKey);

check('a picture is waited for', async () => {
  const seen = [];
  const result = await fal.subscribe('fal-ai/flux/dev', {
    input: { prompt: 'a red kite', num_images: 2, image_size: { width: 1024, height: 1536 } },
    pollInterval: 1,
    logs: true,
    onQueueUpdate: (update) => seen.push(update.status),
  });
  assert.deepEqual([...new Set(seen)], ['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']);
  assert.equal(result.data.images.length, 2);
  assert.equal(result.data.images[0].height, 1536);
  assert.ok(result.requestId);
});

check('a film is submitted, asked for and fetched', async () => {
  const job = await fal.queue.submit('minimax/h3-max/text-to-video', { input: { prompt: 'waves', duration: 6 }, webhookUrl: 'https://router.example/hooks/fal' });
  assert.equal(job.status, 'IN_QUEUE');
  assert.equal(job.response_url, `${input.falURL}/minimax/h3-max/requests/${job.request_id}`);
  for (const want of ['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']) {
    const status = await fal.queue.status('minimax/h3-max/text-to-video', { requestId: job.request_id });
    assert.equal(status.status, want);
  }
  const result = await fal.queue.result('minimax/h3-max/text-to-video', { requestId: job.request_id });
  assert.equal(result.data.video.duration, 6);
  assert.match(result.data.video.url, /\.mp4$/);
});

check('a job is canceled', async () => {
  const job = await fal.queue.submit('minimax/h3-max/text-to-video', { input: { prompt: 'script:polls=1000 waves' } });
  await fal.queue.cancel('minimax/h3-max/text-to-video', { requestId: job.request_id });
  await raises('ApiError', { status: 400 }, () => fal.queue.cancel('minimax/h3-max/text-to-video', { requestId: job.request_id }));
});

check('a mistake names its field', async () => {
  const error = await raises('ValidationError', { status: 422 }, () => fal.queue.submit('fal-ai/flux/dev', { input: {} }));
  assert.equal(error.getFieldErrors('prompt')[0].msg, 'Field required');
});

check('an account without money is locked', async () => {
  const error = await raises('ApiError', { status: 403 }, () => fal.queue.submit('fal-ai/flux/dev', { input: { prompt: 'script:error=quota x' } }));
  assert.match(error.body.detail, /User is locked\. Reason: Exhausted balance/);
});

check('a wrong key is refused', async () => {
  const error = await raises('ApiError', { status: 401 }, () => make('id:invalid').queue.submit('fal-ai/flux/dev', { input: { prompt: 'x' } }));
  assert.equal(error.body.detail, 'No user found for Key ID and Secret');
});

check('a job fails with the status of its error', async () => {
  const job = await fal.queue.submit('fal-ai/flux/dev', { input: { prompt: 'script:polls=1,error=content,at=0 x' } });
  for (let i = 0; i < 2; i++) await fal.queue.status('fal-ai/flux/dev', { requestId: job.request_id });
  const error = await raises('ValidationError', { status: 422 }, () => fal.queue.result('fal-ai/flux/dev', { requestId: job.request_id }));
  assert.equal(error.fieldErrors[0].type, 'content_policy_violation');
});

await finish();
