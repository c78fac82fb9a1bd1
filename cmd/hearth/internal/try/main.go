package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"hearth/cmd/hearth/internal/demo"
	"hearth/node"
	"hearth/node/cloud"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[3] == "up":
		err = node.Run(ctx, node.Config{Dir: os.Args[2], Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	case os.Args[1] == "demo":
		err = demo.Run(ctx, demo.Config{Dir: os.Args[2], Out: os.Stdout, File: os.Args[3]})
	case os.Args[1] == "dev":
		var c *cloud.Cloud
		c, err = cloud.Start(ctx, cloud.Config{Dir: os.Args[2]})
		if err == nil {
			fmt.Println("up", c.Network)
			<-ctx.Done()
			c.Stop()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
