import { Notice } from "../ui/notice";
import { useDocumentTitle } from "../ui/use-document-title";

/** Any URL that leads nowhere, and streams that do not exist. */
export function NotFoundPage() {
  useDocumentTitle("Not found");
  return (
    <Notice
      testId="not-found"
      title="There is nothing here"
      action={{ label: "See what is live", to: "/" }}
    >
      The link may be old, or the broadcaster has removed this stream.
    </Notice>
  );
}
