// @ts-check
// Shows openapi.json. The library brings its own Markdown, which it writes as HTML; the
// page's policy lets no text become HTML, so descriptions are shown as the plain text that
// they are.

/** @param {{React: any}} system */
const plain = ({ React }) => ({
  wrapComponents: {
    Markdown: () => (/** @type {{source?: string}} */ { source }) =>
      source ? React.createElement('div', { className: 'markdown' },
        ...String(source).split(/\n+/).map((text) => React.createElement('p', null, text))) : null,
    // It tells and does nothing: a pass is not for pasting into a page.
    authorizeBtn: () => () => null,
    authorizeOperationBtn: () => () => null,
  },
});

/** @type {any} */ (window).SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#api',
  deepLinking: true,
  plugins: [plain],
  supportedSubmitMethods: [],
  validatorUrl: null, // nothing is asked of anybody else
});
