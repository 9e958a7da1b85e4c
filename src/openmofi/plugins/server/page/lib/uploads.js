/** Images that were given by drop, paste or choice: sent to the server, and shown here from memory. */
import { api, ApiError } from "./api.js";
import { t } from "./text.js";

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
  const large = new ApiError(413, t("upload.tooLarge", { name: file.name || t("upload.image"), megabytes: file.size / 1e6 }),
    `${most ? `${t("upload.most", { megabytes: Math.floor(most / 1e6) })} ` : ""}${t("error.smaller")}`);
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
