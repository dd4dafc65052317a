/** The topics as a consumer gets them. */

import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";

/**
 * Everything a topic holds at this moment, oldest first within a partition.
 *
 * @returns {Promise<{key: string, text: string}[]>}
 */
export async function readTopic(brokers, topic) {
  const kafka = new Kafka({
    clientId: "marquee-e2e",
    brokers: brokers.split(","),
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  let missing = offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  if (missing === 0) {
    return [];
  }
  const messages = [];
  const consumer = kafka.consumer({ groupId: `e2e-${randomUUID()}`, maxWaitTimeInMs: 200 });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise((resolve, reject) => {
      const late = new Error(`${topic}: ${missing} messages did not come`);
      const deadline = setTimeout(() => reject(late), 20_000);
      consumer
        .run({
          eachMessage: async ({ message }) => {
            messages.push({ key: String(message.key), text: String(message.value) });
            missing -= 1;
            if (missing === 0) {
              clearTimeout(deadline);
              resolve();
            }
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return messages;
}
