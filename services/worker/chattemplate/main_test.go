package chattemplate

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Main()
	parentMain()
	goleak.VerifyTestMain(m)
}

// parentEnv makes the test binary a parent that starts a child, prints its id and waits to be killed.
const parentEnv = "RBEE_TEST_PARENT"

func parentMain() {
	if os.Getenv(parentEnv) == "" {
		return
	}
	r, err := New(context.Background(), endless, Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.pid())
	for {
		_, _ = r.Render(context.Background(), chat(os.Getenv(parentEnv)))
	}
}
