/** The object store, asked directly: what is there, whatever playlists say. */

import { createHash, createHmac } from "node:crypto";

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const percent = (text) =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );

export class S3 {
  constructor({ endpoint, access_key: accessKey, secret_key: secretKey }, region = "us-east-1") {
    Object.assign(this, { endpoint, accessKey, secretKey, region });
  }

  /** A GET signed by AWS Signature Version 4. */
  async #get(path, query) {
    const url = new URL(path, this.endpoint);
    const canonicalQuery = Object.entries(query)
      .map(([name, value]) => `${percent(name)}=${percent(value)}`)
      .sort()
      .join("&");
    const stamp = new Date().toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
    const scope = `${stamp.slice(0, 8)}/${this.region}/s3/aws4_request`;
    const payload = sha256("");
    const canonical = [
      "GET",
      url.pathname,
      canonicalQuery,
      `host:${url.host}`,
      `x-amz-content-sha256:${payload}`,
      `x-amz-date:${stamp}`,
      "",
      "host;x-amz-content-sha256;x-amz-date",
      payload,
    ].join("\n");
    const toSign = ["AWS4-HMAC-SHA256", stamp, scope, sha256(canonical)].join("\n");
    let key = `AWS4${this.secretKey}`;
    for (const part of scope.split("/")) {
      key = hmac(key, part);
    }
    const signature = hmac(key, toSign).toString("hex");
    return fetch(`${url.origin}${url.pathname}?${canonicalQuery}`, {
      headers: {
        "x-amz-content-sha256": payload,
        "x-amz-date": stamp,
        authorization: `AWS4-HMAC-SHA256 Credential=${this.accessKey}/${scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=${signature}`,
      },
      signal: AbortSignal.timeout(10_000),
    });
  }

  /** All objects of a bucket under a prefix, as `{key, size}`. */
  async list(bucket, prefix = "") {
    const objects = [];
    let token;
    do {
      const response = await this.#get(`/${bucket}`, {
        "list-type": "2",
        prefix,
        ...(token && { "continuation-token": token }),
      });
      const xml = await response.text();
      if (!response.ok) {
        throw new Error(`listing ${bucket}: ${response.status} ${xml}`);
      }
      for (const [, entry] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
        objects.push({
          key: /<Key>(.*?)<\/Key>/s.exec(entry)[1],
          size: Number(/<Size>(\d+)<\/Size>/.exec(entry)[1]),
        });
      }
      token = /<NextContinuationToken>(.*?)<\/NextContinuationToken>/s.exec(xml)?.[1];
    } while (token);
    return objects;
  }
}
