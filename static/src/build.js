// Bundles the YAML editor and copies htmx into ../vendor. Run after changing a version in package.json.
import { copyFileSync } from "node:fs";
import { build } from "esbuild";

await build({
  entryPoints: ["editor.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "linked",
  outfile: "../vendor/editor.js",
});
copyFileSync("node_modules/htmx.org/dist/htmx.min.js", "../vendor/htmx.js");
copyFileSync("node_modules/htmx.org/LICENSE", "../vendor/htmx.LICENSE.txt");
