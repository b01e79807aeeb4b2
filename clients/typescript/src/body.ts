/** An operation as it is sent: by its text, or by the id that is registered for it. */
export type Operation = ({ query: string } | { documentId: string }) & { operationName: string; variables: unknown };

/** As JSON, and by the GraphQL multipart request specification when there are files in the variables. */
export function bodyOf(operation: Operation): { body: string | FormData; headers: Record<string, string> } {
  const files: { file: Blob; place: string }[] = [];
  const variables = withoutFiles(operation.variables, "variables", (file, place) => files.push({ file, place }));
  const operations = JSON.stringify({ ...operation, variables });
  if (files.length === 0) return { body: operations, headers: { "content-type": "application/json" } };
  const form = new FormData();
  form.append("operations", operations);
  form.append("map", JSON.stringify(Object.fromEntries(files.map(({ place }, part) => [part, [place]]))));
  files.forEach(({ file }, part) => form.append(`${part}`, file));
  // The bank takes forms only with a header that other sites cannot have a browser send.
  return { body: form, headers: { "x-graphql-csrf": "1" } };
}

function withoutFiles(value: unknown, place: string, found: (file: Blob, place: string) => void): unknown {
  if (value instanceof Blob) {
    found(value, place);
    return null;
  }
  if (Array.isArray(value)) return value.map((item, index) => withoutFiles(item, `${place}.${index}`, found));
  if (value?.constructor !== Object) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutFiles(item, `${place}.${name}`, found)]));
}
