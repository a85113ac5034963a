// Asks a hub as npm's @huggingface/hub does and prints what it got as JSON.
// node client.mjs FOLDER-WITH-NODE_MODULES HUB-ADDRESS ORG/REPO TOKEN
import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const [folder, hubUrl, repo, accessToken] = process.argv.slice(2);
const hub = createRequire(folder + "/")("@huggingface/hub");
const common = { repo, hubUrl, accessToken: accessToken || undefined };
const out = { files: [], infos: {}, sums: {} };

for await (const f of hub.listFiles({ ...common, recursive: true })) out.files.push(f);
for (const f of out.files) {
  if (f.type !== "file") continue;
  const info = await hub.fileDownloadInfo({ ...common, path: f.path });
  out.infos[f.path] = { size: info.size, etag: info.etag };
  const blob = await hub.downloadFile({ ...common, path: f.path });
  const hash = createHash("sha256");
  for await (const chunk of blob.stream()) hash.update(chunk);
  out.sums[f.path] = hash.digest("hex");
  if (f.size > 200) {
    const part = Buffer.from(await blob.slice(100, 200).arrayBuffer());
    out.sums[f.path + " 100-200"] = createHash("sha256").update(part).digest("hex");
  }
}
out.missing = await hub.fileDownloadInfo({ ...common, path: "no-such.gguf" });
out.paths = await hub.pathsInfo({ ...common, paths: out.files.filter((f) => f.type === "file").map((f) => f.path) });
out.model = await hub.modelInfo({ ...common, name: repo, additionalFields: ["sha", "tags"] });
out.found = [];
for await (const m of hub.listModels({ hubUrl, search: { query: repo.split("/")[1] }, limit: 5 })) out.found.push(m.name);
if (accessToken) out.who = (await hub.whoAmI({ hubUrl, accessToken })).name;
try {
  for await (const f of hub.listFiles({ ...common, repo: repo + "-not" })) out.files.push(f);
} catch (e) {
  out.missingRepo = e.statusCode;
}
console.log(JSON.stringify(out));
