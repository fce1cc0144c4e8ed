// Bundles the YAML editor into ../vendor. Run after changing a version in package.json.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const result = await build({
  entryPoints: ["editor.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "linked",
  outfile: "../vendor/editor.js",
  metafile: true,
});

// The licence of every package inside the bundle travels with it.
const packages = new Set(Object.keys(result.metafile.inputs)
  .map((file) => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean));
const licences = [...packages].sort().map((name) => {
  const file = `node_modules/${name}/LICENSE`;
  if (!existsSync(file)) throw new Error(`${name} has no LICENSE file; add it by hand`);
  return `${name}\n\n${readFileSync(file, "utf8").trim()}\n`;
});
writeFileSync("../vendor/editor.LICENSE.txt", licences.join("\n----\n\n"));
