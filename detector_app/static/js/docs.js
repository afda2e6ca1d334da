// Shows /openapi.json, without help from any other site.

import { byId, node } from "./dom.js";

function typeOf(schema, all) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, all)).join(" | ");
  if (schema.type === "array" && schema.items) return `[${typeOf(schema.items, all)}]`;
  if (schema.type === "object" && schema.additionalProperties) return `{name: ${typeOf(schema.additionalProperties, all)}}`;
  return schema.format === "binary" ? "file" : schema.type || "any";
}

function table(rows, heads) {
  const element = node("table");
  const head = element.createTHead().insertRow();
  heads.forEach((text) => head.append(node("th", text)));
  const body = element.createTBody();
  rows.forEach((cells) => {
    const row = body.insertRow();
    cells.forEach((text, i) => row.insertCell().append(i < 2 ? node("code", text) : node("span", text)));
  });
  return element;
}

const fields = (schema, all) =>
  Object.entries((schema && schema.properties) || {}).map(([name, one]) => [name, typeOf(one, all), one.description || ""]);

function operation(path, method, details, schemas) {
  const section = node("section", "", "card operation");
  const title = node("h2");
  title.append(node("b", method.toUpperCase(), `method ${method}`), " ", node("code", path));
  section.append(title, node("p", details.description || details.summary || ""));
  const parameters = (details.parameters || []).map((one) => [one.name, typeOf(one.schema, schemas), one.description || ""]);
  if (parameters.length) section.append(node("h3", "query"), table(parameters, ["name", "type", ""]));
  for (const [kind, body] of Object.entries((details.requestBody || {}).content || {})) {
    section.append(node("h3", `body: ${kind}`));
    const schema = body.schema.$ref ? schemas[typeOf(body.schema)] : body.schema;
    const rows = fields(schema, schemas);
    section.append(rows.length ? table(rows, ["field", "type", ""]) : node("p", "the picture itself"));
  }
  section.append(node("h3", "answers"));
  for (const [status, answer] of Object.entries(details.responses)) {
    const schema = ((answer.content || {})["application/json"] || {}).schema;
    const name = typeOf(schema);
    const line = node("details");
    const summary = node("summary");
    summary.append(node("code", status), ` ${answer.description} `, node("code", name));
    line.append(summary, table(fields(schemas[name], schemas), ["field", "type", ""]));
    section.append(line);
  }
  return section;
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then((api) => {
    byId("title").textContent = `${api.info.title} API ${api.info.version}`;
    const schemas = (api.components || {}).schemas || {};
    for (const [path, methods] of Object.entries(api.paths))
      for (const [method, details] of Object.entries(methods))
        byId("operations").append(operation(path, method, details, schemas));
  });
