// All that people do with the npm package `meilisearch`: `node with_javascript.mjs URL KEY` writes a line a step.

import { Meilisearch } from "meilisearch";
import { generateTenantToken } from "meilisearch/token";

const [url, apiKey] = process.argv.slice(2);
const client = new Meilisearch({ host: url, apiKey, defaultWaitOptions: { timeout: 20_000, interval: 10 } });
const index = client.index("js-books");

const books = [
  { id: 1, title: "Kindred", year: 1979, genres: ["time", "family"] },
  { id: 2, title: "The Dispossessed", year: 1974, genres: ["utopia"] },
  { id: 3, title: "Solaris", year: 1961, genres: ["first contact"] },
  { id: 4, title: "Roadside Picnic", year: 1972, genres: ["first contact"] },
  { id: 5, title: "Ubik", year: 1969, genres: ["time"] },
  { id: 6, title: "Time and Again", year: 1970, genres: ["time"] },
];
const settings = {
  filterableAttributes: ["year", "genres", "id"],
  sortableAttributes: ["year", "title"],
  searchableAttributes: ["title", "genres"],
  synonyms: { planet: ["solaris"] },
};

async function step(name, call) {
  let result;
  let told;
  try {
    result = await call();
    told = result ?? null;
  } catch (error) {
    told = { error: error.name, message: error.message, cause: error.cause ?? null };
  }
  process.stdout.write(JSON.stringify({ step: name, result: told }) + "\n");
  return result;
}

const done = (name, call) => step(`${name}: task`, () => call().waitTask());

// the instance
await step("health", () => client.health());
await step("is healthy", () => client.isHealthy());
await step("version", () => client.getVersion());

// indexes
await done("create index", () => client.createIndex("js-books", { primaryKey: "id" }));
await done("create it again", () => client.createIndex("js-books"));
await done("create another", () => client.createIndex("js-other"));
await done("update index", () => client.updateIndex("js-other", { primaryKey: "number" }));
await step("get raw index", () => client.getRawIndex("js-books"));
await step("get unknown index", () => client.getRawIndex("nowhere"));
await step("get raw indexes", () => client.getRawIndexes({ limit: 1 }));
await step("primary key", () => index.fetchPrimaryKey());

// documents
await done("add documents", () => index.addDocuments(books.slice(0, 2)));
await step("add in batches", async () => {
  const batches = index.addDocumentsInBatches(books.slice(2), 10); // more would be sent at once, in any order
  return (await Promise.all(batches.map((batch) => batch.waitTask()))).map(({ status, details }) => ({ status, details }));
});
await done("add ndjson", () => index.addDocumentsFromString('{"id": 8, "title": "Eight"}\n', "application/x-ndjson"));
await done("add csv", () => index.addDocumentsFromString("id;title\n9;Nine\n", "text/csv", { csvDelimiter: ";" }));
await done("update documents", () => index.updateDocuments([{ id: 1, pages: 264 }]));
await done("update ndjson", () => index.updateDocumentsFromString('{"id": 8, "year": 2008}', "application/x-ndjson"));
await step("get document", () => index.getDocument(1));
await step("get fields", () => index.getDocument(1, { fields: ["title"] }));
await step("get unknown document", () => index.getDocument(99));
await step("get documents", () => index.getDocuments({ limit: 3, offset: 1, fields: ["id", "title"] }));
await done("delete one", () => index.deleteDocument(9));
await done("delete some", () => index.deleteDocuments([8, 99]));
await done("bad document", () => index.addDocuments([{ title: "no key" }]));

// settings
await done("update settings", () => index.updateSettings(settings));
await step("get settings", () => index.getSettings());
await step("get by filter", () => index.getDocuments({ filter: "year > 1970" }));
for (const [name, value] of Object.entries({
  RankingRules: ["words", "typo", "sort", "year:desc"],
  DistinctAttribute: "year",
  SearchableAttributes: ["title"],
  DisplayedAttributes: ["id", "title"],
  StopWords: ["of"],
  Synonyms: { book: ["tome"] },
  TypoTolerance: { enabled: false },
  Pagination: { maxTotalHits: 5 },
  Faceting: { maxValuesPerFacet: 2 },
  Dictionary: ["J. K."],
  SeparatorTokens: ["|"],
  NonSeparatorTokens: ["@"],
  Embedders: { own: { source: "userProvided", dimensions: 2 } },
  SearchCutoffMs: 900,
  ProximityPrecision: "byAttribute",
  LocalizedAttributes: [{ attributePatterns: ["*_en"], locales: ["eng"] }],
  FacetSearch: false,
  PrefixSearch: "disabled",
})) {
  await done(`update ${name}`, () => index[`update${name}`](value));
  await step(`get ${name}`, () => index[`get${name}`]());
  await done(`reset ${name}`, () => index[`reset${name}`]());
}
await done("reset settings", () => index.resetSettings());
await done("settings for the searches", () => index.updateSettings(settings));
await done("bad setting", () => index.updateSettings({ rankingRules: ["doggo"] }));

// searches
for (const [query, options] of [
  ["time", {}],
  ["tiem", { attributesToHighlight: ["*"], showMatchesPosition: true }],
  ["", { filter: "year > 1970", sort: ["year:asc"] }],
  ["", { filter: [["genres = time", "genres = utopia"], "year != 1969"], limit: 2 }],
  ["", { facets: ["genres", "year"], limit: 0 }],
  ["time", { page: 1, hitsPerPage: 1 }],
  ["planet", { showRankingScore: true, attributesToRetrieve: ["title"] }],
  ["", { distinct: "year", attributesToRetrieve: ["id"] }],
  ["x", { filter: "title = x" }],
  ["x", { doggo: 1 }],
]) {
  await step(`search ${query} ${JSON.stringify(options)}`, () => index.search(query, options));
}
await step("search by GET", () => index.searchGet("time", { limit: 2, filter: "year > 1900", facets: ["genres"] }));
await step("facet search", () => index.searchForFacetValues({ facetName: "genres", facetQuery: "ti" }));
const queries = [{ indexUid: "js-books", q: "time" }, { indexUid: "js-books", q: "solaris" }];
await step("multi search", () => client.multiSearch({ queries }));
await step("federation", () => client.multiSearch({ federation: { limit: 3 }, queries }));
const vectors = client.index("js-vectors");
await done("embedder", () => vectors.updateEmbedders({ own: { source: "userProvided", dimensions: 2 } }));
await done("vectors", () => vectors.addDocuments(books.map((book) => ({ ...book, _vectors: { own: [1, book.id] } }))));
await step("similar", () => vectors.searchSimilarDocuments({ id: 1, embedder: "own", limit: 3 }));
const hybrid = { embedder: "own", semanticRatio: 1 };
await step("by vector", () => vectors.search("", { vector: [1, 3], hybrid, limit: 2 }));
await step("index stats", () => index.getStats());
await step("stats", () => client.getStats());

// keys and tokens
const uid = "00000000-0000-4000-8000-0000000000a3";
const key = await step("create key", () =>
  client.createKey({ uid, actions: ["search"], indexes: ["js-*"], expiresAt: null }),
);
await step("update key", () => client.updateKey(uid, { name: "a name" }));
await step("get key", () => client.getKey(uid));
await step("get keys", () => client.getKeys({ limit: 1 }));
if (key) {
  const searcher = new Meilisearch({ host: url, apiKey: key.key });
  await step("search with the key", () => searcher.index("js-books").search("solaris"));
  await step("add with the key", () => searcher.index("js-books").addDocuments(books));
  const token = await generateTenantToken({
    apiKey: key.key,
    apiKeyUid: uid,
    searchRules: { "js-books": { filter: "year > 1970" } },
  });
  const tenant = new Meilisearch({ host: url, apiKey: token });
  await step("search with the token", () => tenant.index("js-books").search(""));
  await step("another index with the token", () => tenant.index("js-other").search(""));
}
await step("delete key", () => client.deleteKey(uid));
await step("wrong key", () => new Meilisearch({ host: url, apiKey: "wrong" }).getStats());

// tasks
await step("tasks", () => client.tasks.getTasks({ limit: 3, indexUids: ["js-books"] }));
await step("failed tasks", () => client.tasks.getTasks({ statuses: ["failed"] }));
await step("one task", () => client.tasks.getTask(0));
await step("unknown task", () => client.tasks.getTask(100000));
await done("cancel", () => client.tasks.cancelTasks({ statuses: ["enqueued"] }));
await done("delete tasks", () => client.tasks.deleteTasks({ statuses: ["failed"] }));

// the rest
await step("features", () => client.getExperimentalFeatures());
await step("webhooks", () => client.getWebhooks());
await done("delete by filter", () => index.deleteDocuments({ filter: "year > 1970" }));
await done("delete all", () => index.deleteAllDocuments());
await done("delete index", () => client.deleteIndex("js-books"));
await step("delete if it exists", () => client.deleteIndexIfExists("js-books"));
await done("snapshot", () => client.createSnapshot());
await done("dump", () => client.createDump());
await done("swap", () => client.swapIndexes([{ indexes: ["js-vectors", "js-other"] }]));
await step("after the swap", () => client.index("js-other").getDocuments({ limit: 1 }));
