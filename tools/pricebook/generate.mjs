// Prints pkg/pricing/genai.json: the price book's rows that come from @pydantic/genai-prices (MIT).
//
//   npm pack @pydantic/genai-prices@0.1.8 && tar xzf pydantic-genai-prices-0.1.8.tgz
//   node tools/pricebook/generate.mjs package > pkg/pricing/genai.json
//
// What stands in pkg/pricing/book.json is left out: rows written by hand win. Rates stay as published.
// Left out, too, are models that are gone, and what is billed by hours, pages or messages, which no
// provider adapter asks for.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const folder = process.argv[2];
if (!folder) throw new Error("usage: generate.mjs FOLDER of the unpacked package");
const { version } = JSON.parse(readFileSync(resolve(folder, "package.json"), "utf8"));
const { findProvider } = await import(pathToFileURL(resolve(folder, "dist/index.js")));
const asOf = "2026-09-23"; // when that version's data was collected
const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const byHand = new Set(JSON.parse(readFileSync(resolve(root, "pkg/pricing/book.json"), "utf8")).prices.flatMap((row) => row.models));

// The conditions of a match that name a model exactly, or its id where none does.
function exact(model, otherwise = [model.id]) {
  const names = [];
  const walk = (c) => {
    for (const part of c.or ?? c.and ?? []) walk(part);
    if (c.equals) names.push(c.equals);
  };
  walk(model.match);
  return names.length ? names : otherwise;
}

const openaiOnly = /^(ada|babbage|curie|davinci|text-(ada|babbage|curie|davinci)|ft:|computer-use|moderation|whisper|gpt-oss|gpt-3\.5-(0301|turbo-(0301|0613|1106|16k|instruct))|gpt-35|gpt-4-(32k|vision|0|1|turbo-(0|preview))|gpt-4\.5|gpt-5(\.4)?-image|.*(realtime|audio|transcribe|tts|search-preview|\.ft-|:extended)|o1-(mini|preview)|o[34]-mini-high|gpt-\d-\d)/;
const openai = (model) => exact(model).filter((name) => !openaiOnly.test(name));
const bedrock = (model) => model.id.replace(/^regional\./, "");
const gone = {
  groq: /^(llama2|llama3-|gemma|mixtral|llama-3\.2|llama-3\.1-(405|70)b|llama-guard-3|deepseek-r1|mistral-saba|llama-3\.3-70b-specdec)/,
  google: /^(claude-(3|4)-|gemini-(1|pro|flash-1|2\.0|2\.5-flash-preview)|gemma-(2|3)|.*(live|tts|omni))/,
  perplexity: /^(llama|r1-|sonar-pro-search|sonar-reasoning$)/,
  mistral: /:free$|^(mistral-(7b|tiny|medium-2312|small-(24b|3\.)|saba)|open-|mixtral|ministral-[38]b$|mistral-nemo:)/,
};

// Where the models of a provider of theirs stand in our book: slugs of model m.
const sources = [
  ["openai", (m) => openai(m).map((n) => `openai/${n}`)],
  // Azure sells OpenAI's models at OpenAI's newest prices; where it does not, book.json says so.
  ["openai", (m) => openai(m).filter((n) => /^(gpt-4|gpt-5|o[134])/.test(n) && !/latest/.test(n)).map((n) => `azure/${n}`), { newest: true }],
  ["azure", (m) => exact(m).filter((n) => /^(text-embedding-(3|ada-002$)|phi-4(-mini|-multimodal)?)/.test(n) && !/free/.test(n)).map((n) => `azure/${n}`)],
  ["anthropic", (m) => (/^claude-(opus-4-1|3-haiku)/.test(m.id) ? [`anthropic/${m.id}`] : [])],
  ["google", (m) => [...new Set([...exact(m), m.id])].flatMap((n) => (/^claude|maas$/.test(n) ? [`vertex/${n}`] : [`google-ai-studio/${n}`, `vertex/${n}`]))],
  ["aws", (m) => [`bedrock/${bedrock(m)}`]],
  ["x-ai", (m) => exact(m).filter((n) => !/^(x-ai\/|grok-(2|voice))/.test(n)).map((n) => `xai/${n}`), { reported: true }],
  ["groq", (m) => exact(m).map((n) => `groq/${n}`)],
  ["mistral", (m) => exact(m, [m.id.replace(/-?$/, "-latest")]).map((n) => `mistral/${n}`)],
  ["moonshotai", (m) => exact(m).map((n) => `moonshot/${n}`), { retired: true }],
  ["baseten", (m) => exact(m).map((n) => `baseten/${n}`)],
  // The fee of a search depends on its context, which no count tells; Perplexity says what it costs.
  ["perplexity", (m) => exact(m).map((n) => `perplexity/${n}`), { reported: true, units: { request: "" } }],
];

const rates = {
  input_mtok: "input", output_mtok: "output", cache_read_mtok: "cache_read",
  input_audio_mtok: "audio_in", output_audio_mtok: "audio_out", input_image_mtok: "image_in", output_image_mtok: "image_out",
};
const decimal = (n) => Number(n.toFixed(9)).toString();

// The tiers of prices, in our form. Theirs hold above start.
function tiers(prices, slug) {
  const starts = new Set([0]);
  for (const rate of Object.values(prices)) for (const t of rate.tiers ?? []) starts.add(begin(t.start, slug));
  return [...starts].sort((a, b) => a - b).map((min) => {
    const tier = min ? { min_input_tokens: min } : {};
    const at = (rate) => {
      let price = rate.base ?? rate;
      for (const t of rate.tiers ?? []) if (begin(t.start, slug) <= min) price = t.price;
      return price;
    };
    for (const [theirs, ours] of Object.entries(rates)) if (prices[theirs] !== undefined) tier[ours] = decimal(at(prices[theirs]));
    if (prices.cache_write_mtok !== undefined) {
      tier[/openai|azure|\/(global\.)?openai\./.test(slug) ? "cache_write_30m" : "cache_write_5m"] = decimal(at(prices.cache_write_mtok));
    }
    if (prices.cache_write_1h_mtok !== undefined) tier.cache_write_1h = decimal(at(prices.cache_write_1h_mtok));
    else if (/^bedrock\/.*claude-.*-(4-[5-9]|5)/.test(slug)) tier.cache_write_1h = decimal(2 * at(prices.input_mtok)); // as AWS lists it
    return tier;
  });
}

// OpenAI's long prompts are those above 272,000 tokens, which theirs rounds down by one.
const begin = (start, slug) => (start === 271999 && /^(openai|azure)\//.test(slug) ? 272001 : start + 1);

const rows = new Map();
const taken = new Set(byHand);
for (const [index, [provider, slugs, more = {}]] of sources.entries()) {
  for (const model of findProvider({ providerId: provider }).models) {
    if ((model.deprecated && !more.retired) || gone[provider]?.test(model.id)) continue;
    let versions = Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }];
    if (more.newest) versions = [{ prices: versions.at(-1).prices }];
    for (const slug of slugs(model)) {
      if (taken.has(slug)) continue;
      for (const v of versions) {
        if (v.prices.input_mtok === undefined) continue;
        taken.add(slug);
        const row = {
          valid_from: v.constraint?.start_date, as_of: asOf, source: "genai-prices",
          reported: more.reported, units: more.units, tiers: tiers(v.prices, slug),
        };
        const key = index + JSON.stringify(row);
        if (!rows.has(key)) rows.set(key, { models: [], ...row });
        rows.get(key).models.push(slug);
      }
    }
  }
}

const sorted = [...rows.values()].sort((a, b) => (a.models[0] < b.models[0] ? -1 : a.models[0] > b.models[0] ? 1 : (a.valid_from ?? "") < (b.valid_from ?? "") ? -1 : 1));
console.log(`{
 "license": "Taken from @pydantic/genai-prices ${version}, Copyright (c) Pydantic Services Inc. 2025 to present, MIT License; its text is in LICENSE.genai-prices. Prices are facts of the providers; check them against their price pages. Written by tools/pricebook/generate.mjs.",
 "sources": {"genai-prices": "@pydantic/genai-prices ${version} (MIT)"},
 "prices": [
${sorted.map((row) => `  ${JSON.stringify(row)}`).join(",\n")}
 ]
}`);
