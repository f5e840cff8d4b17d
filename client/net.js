/** Whether the service has closed a socket for good. */
export const isFinal = (code) => [1003, 1008, 1009].includes(code) || (code >= 4400 && code < 4500);

/** Why the service did not execute a request; `status` is 0 if there was no answer. `code`: of the service's list, if it has one. */
export class ServiceError extends Error {
  constructor(status, message, { code, errors = [], data = null, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { name: 'ServiceError', status, code, errors, data, retryAfter });
  }
}

/** The rows of a list by their ids. */
export const byId = ({ data }) => new Map(data.map((row) => [row.id, row]));

/** The UTF-8 bytes of a text as a string with one character for each, for a header and for btoa(). */
export const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));
export const base64url = (text) => btoa(bytes(text)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** An Idempotency-Key. Pages that are not served over https lack crypto.randomUUID. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
