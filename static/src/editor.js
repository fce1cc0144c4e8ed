// A YAML editor in place of a textarea: <textarea data-editor> keeps the text, so forms work as without it.
import { autocompletion, closeBrackets } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, foldGutter, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--ink)", fontWeight: "600" },
  { tag: [tags.string, tags.content, tags.attributeValue], color: "var(--dim)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--dim)" },
  { tag: tags.comment, color: "var(--faint)", fontStyle: "italic" },
  { tag: [tags.meta, tags.separator, tags.punctuation], color: "var(--faint)" },
]);

// States keep the shapes they have elsewhere: a triangle for what to note, an octagon for what is wrong.
const look = EditorView.theme({
  "&": { backgroundColor: "var(--sunken)", color: "var(--ink)", fontSize: "var(--t-s)" },
  ".cm-content": { fontFamily: "var(--mono)", caretColor: "var(--ink)" },
  ".cm-scroller": { minHeight: "28rem", lineHeight: "1.6" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--faint)", border: "0" },
  ".cm-activeLine": { backgroundColor: "var(--hover)" },
  "&.cm-focused": { outline: "none" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": { backgroundColor: "var(--pick)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-lint-marker": { content: "normal", width: "12px", height: "12px", margin: "4px 0 0 2px" },
  ".cm-lint-marker-warning": { backgroundColor: "var(--warn)", clipPath: "polygon(50% 8%, 100% 95%, 0 95%)" },
  ".cm-lint-marker-error": { backgroundColor: "var(--bad)", clipPath: "polygon(30% 0, 70% 0, 100% 30%, 100% 70%, 70% 100%, 30% 100%, 0 70%, 0 30%)" },
  ".cm-lintRange": { backgroundImage: "none", textDecoration: "underline wavy var(--warn) 1px", textDecorationSkipInk: "none" },
  ".cm-lintRange-error": { textDecorationColor: "var(--bad)" },
});

/** Replace a textarea by an editor; returns functions to read, write and mark lines. */
export function edit(textarea, changed = () => {}) {
  const host = document.createElement("div");
  textarea.before(host);
  const root = host.attachShadow({ mode: "open" });  // there CodeMirror adopts its styles: no <style> for the policy to stop
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: textarea.value,
      extensions: [
        lineNumbers(), foldGutter(), history(), drawSelection(), indentOnInput(), indentUnit.of("  "), bracketMatching(),
        closeBrackets(), autocompletion(), highlightActiveLine(), highlightSelectionMatches(), lintGutter(), yaml(),
        syntaxHighlighting(colours), look,
        keymap.of([...defaultKeymap, ...searchKeymap, ...historyKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-label": textarea.getAttribute("aria-label") || "YAML" }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          textarea.value = update.state.doc.toString();
          changed(textarea.value);
        }),
      ],
    }),
  });
  textarea.hidden = true;
  return {
    view,
    /** Show problems: [{line (from 1, or 0 for the whole), message}]. */
    mark(problems) {
      const doc = view.state.doc;
      const diagnostics = problems.map(({ line, message, severity }) => {
        const at = doc.line(Math.min(Math.max(line || 1, 1), doc.lines));
        return { from: at.from, to: at.to, severity: severity || "error", message };
      });
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    go(line) {
      const at = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
      view.dispatch({ selection: { anchor: at.from }, scrollIntoView: true });
      view.focus();
    },
  };
}
