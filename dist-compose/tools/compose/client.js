/** Milliseconds until a request is given up: far above what any answer may take. */
const requestTimeoutMs = 20_000;
export async function send(base, method, path, body) {
    const sentAt = performance.now();
    const response = await fetch(base + path, {
        method,
        signal: AbortSignal.timeout(requestTimeoutMs),
        ...(body === undefined
            ? {}
            : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const tookMs = performance.now() - sentAt;
    const isJson = /[/+]json/.test(response.headers.get('Content-Type') ?? '');
    return {
        status: response.status,
        headers: response.headers,
        body: isJson ? JSON.parse(text) : text,
        sentAt,
        tookMs,
    };
}
let registered = 0;
/** @throws unless the answer is a 201 */
export async function registerUser(base) {
    const email = `user-${++registered}@example.com`;
    const answer = await send(base, 'POST', '/users', { email, name: nameOf(0) });
    if (answer.status !== 201)
        throw new Error(`POST /users: ${describe(answer)}`);
    return answer.body;
}
export const readUser = (base, id) => send(base, 'GET', `/users/${id}`);
export const writeUser = (base, id, value) => send(base, 'PATCH', `/users/${id}`, { name: nameOf(value) });
/** The number that the last write put into a user's name. */
export function writtenValue(answer) {
    const name = answer.body?.name;
    if (answer.status !== 200 || !name)
        throw new Error(`a user was expected: ${describe(answer)}`);
    return Number(name.slice(1));
}
const nameOf = (value) => `v${value}`;
export const cacheStatusOf = (answer) => answer.headers.get('Cache-Status') ?? '';
export const servedBy = (answer) => answer.headers.get('Served-By') ?? '';
export function describe({ status, body, tookMs }) {
    return `${status} after ${Math.round(tookMs)} ms: ${JSON.stringify(body).slice(0, 300)}`;
}
//# sourceMappingURL=client.js.map