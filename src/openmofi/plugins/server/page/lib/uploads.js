/** Images that were given by drop, paste or choice: sent to the server, and shown here from memory. */
import { api, ApiError } from "./api.js";

/** @type {Map<string, string>} token → address of the blob */
const shown = new Map();
const SUSPICIOUS_BYTES = 20 << 20;

/** @param {string} upload @returns {string | undefined} */
export const preview = (upload) => shown.get(upload);

/**
 * @param {File} file
 * @param {number} [most] bytes that the server takes, where it says so
 * @returns {Promise<string>} the token
 * @throws {ApiError}
 */
export async function upload(file, most) {
  const large = new ApiError(413, `${file.name || "The image"} is too large (${Math.round(file.size / 1e6)} MB).`,
    `${most ? `At most ${Math.floor(most / 1e6)} MB are taken. ` : ""}Make the image smaller, then try again.`);
  if (most && file.size > most) throw large;
  try {
    const { upload: token } = await api.upload(file);
    shown.set(token, URL.createObjectURL(file));
    return token;
  } catch (error) {
    // A server that hangs up in the middle of a large file has had enough of it.
    throw error.status === 0 && file.size > SUSPICIOUS_BYTES ? large : error;
  }
}

/** @param {DataTransfer | null} data @returns {File[]} */
export const filesOf = (data) => [...(data?.files ?? [])];
