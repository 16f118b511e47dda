/** A render's request in the words of other tools; the token is theirs to fill in. */

/** @param {string} text for a shell */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** @param {any} body @returns {Record<string, string>} by the name of the tool */
export function commandsOf(body) {
  const url = `${location.origin}/api/videos/generate`;
  return { curl: curl(url, body), CLI: commandLine(body), Python: python(url, body) };
}

/** @param {string} url @param {any} body */
const curl = (url, body) => [
  'curl -sS --fail-with-body -H "Authorization: Bearer $REELMILL_TOKEN" -H \'Content-Type: application/json\'',
  `-d ${quoted(JSON.stringify(body))}`,
  url,
].join(" \\\n  ");

/** @param {any} body */
function commandLine({ experiment_id: experiment, decimation_factor: every, ...options }) {
  const textOf = (/** @type {any} */ value) => (typeof value === "string" ? value : JSON.stringify(value));
  const given = Object.entries(options).map(([name, value]) => ` --option ${quoted(`${name}=${textOf(value)}`)}`);
  return `reelmill render --experiment ${experiment} --decimation ${every}${given.join("")}`;
}

/** @param {string} url @param {any} body */
const python = (url, body) => `import json, os, urllib.request

body = json.loads(${JSON.stringify(JSON.stringify(body))})
headers = {"Authorization": "Bearer " + os.environ["REELMILL_TOKEN"], "Content-Type": "application/json"}
request = urllib.request.Request("${url}", json.dumps(body).encode(), headers)
print(json.dumps(json.load(urllib.request.urlopen(request))))
`;
