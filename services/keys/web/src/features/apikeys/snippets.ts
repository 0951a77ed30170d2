/** Place is where an application reaches the routers. */
export type Place = {
  /** Of the OpenAI-compatible API, such as "https://llm.acme.example/v1". */
  baseUrl: string;
  /** Of gRPC, such as "llm.acme.example:443". */
  grpc: string;
  /** What to ask for, such as "policy/main". */
  model: string;
};

/** Snippet is ready to paste. It reads the key from the environment and never holds it. */
export type Snippet = { id: string; name: string; code: (place: Place) => string };

/** readKey asks for the key in a shell, so that it is in no history. */
export const readKey = "read -rs CLAVIGER_API_KEY && export CLAVIGER_API_KEY";

/**
 * placeOf guesses where routers are: where this page came from. One process serves gRPC one port above;
 * elsewhere it stands behind the same name.
 */
export function placeOf(origin: string): Omit<Place, "model"> {
  const { hostname, port, protocol } = new URL(origin);
  const grpcPort = port ? String(Number(port) + 1) : protocol === "http:" ? "80" : "443";
  return { baseUrl: `${origin}/v1`, grpc: `${hostname}:${grpcPort}` };
}

// Quoted for JSON, Python, JavaScript and Go alike.
const quote = (text: string) => JSON.stringify(text);
// Inside single quotes of a shell.
const shell = (text: string) => text.replaceAll("'", `'\\''`);

/** snippets are the languages, in the order in which they are offered. */
export const snippets: readonly Snippet[] = [
  {
    id: "curl",
    name: "curl",
    code: ({ baseUrl, model }) => `curl -N '${shell(baseUrl)}/chat/completions' \\
  -H "Authorization: Bearer $CLAVIGER_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '${shell(`{"model": ${quote(model)}, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}`)}'`,
  },
  {
    id: "python",
    name: "Python",
    code: ({ baseUrl, model }) => `# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url=${quote(baseUrl)}, api_key=os.environ["CLAVIGER_API_KEY"])
answer = client.chat.completions.create(
    model=${quote(model)},
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`,
  },
  {
    id: "node",
    name: "Node",
    code: ({ baseUrl, model }) => `// npm install openai; save as hello.mjs
import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${quote(baseUrl)}, apiKey: process.env.CLAVIGER_API_KEY });
const answer = await client.chat.completions.create({
  model: ${quote(model)},
  messages: [{ role: "user", content: "Hello" }],
});
console.log(answer.choices[0].message.content);`,
  },
  {
    id: "go",
    name: "Go",
    code: ({ baseUrl, model }) => `// go get github.com/openai/openai-go/v3
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(
		option.WithBaseURL(${quote(baseUrl)}),
		option.WithAPIKey(os.Getenv("CLAVIGER_API_KEY")),
	)
	answer, err := client.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{
		Model:    ${quote(model)},
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
}`,
  },
  {
    id: "grpc",
    name: "Go, gRPC",
    code: ({ baseUrl, grpc, model }) => {
      const plain = baseUrl.startsWith("http:");
      const packages = plain
        ? '	"google.golang.org/grpc/credentials/insecure"\n'
        : '	"google.golang.org/grpc/credentials"\n';
      const credentials = plain ? "insecure.NewCredentials()" : "credentials.NewTLS(nil)";
      return `// go get github.com/claviger/claviger/proto google.golang.org/grpc
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/grpc"
${packages}	"google.golang.org/grpc/metadata"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
)

func main() {
	conn, err := grpc.NewClient(${quote(grpc)}, grpc.WithTransportCredentials(${credentials}))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(),
		"authorization", "Bearer "+os.Getenv("CLAVIGER_API_KEY"))
	stream, err := routerv1.NewCompletionServiceClient(conn).StreamCompletion(ctx,
		&routerv1.StreamCompletionRequest{Input: &routerv1.CompletionInput{
			Model: ${quote(model)},
			Messages: []*routerv1.Message{{
				Role:  routerv1.MessageRole_MESSAGE_ROLE_USER,
				Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: "Hello"}}},
			}},
		}})
	if err != nil {
		log.Fatal(err)
	}
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(event.GetText())
	}
}`;
    },
  },
  {
    id: "grpcurl",
    name: "grpcurl",
    code: ({ baseUrl, grpc, model }) =>
      `grpcurl ${baseUrl.startsWith("http:") ? "-plaintext " : ""}-H "Authorization: Bearer $CLAVIGER_API_KEY" \\
  -d '${shell(`{"input": {"model": ${quote(model)}, "messages": [{"role": "MESSAGE_ROLE_USER", "parts": [{"text": "Hello"}]}]}}`)}' \\
  ${grpc} claviger.router.v1.CompletionService/StreamCompletion`,
  },
];
