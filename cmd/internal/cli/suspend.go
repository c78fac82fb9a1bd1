package cli

import "github.com/spf13/cobra"

func (a *App) instanceSuspendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "suspend NAME...", Short: "Write down what instances have in memory and files; start goes on from there", Args: cobra.MinimumNArgs(1),
		Long: `The host writes all that an instance is (memory, files, secrets) to its disk, sealed with
a key that only your account has, and ends it. "hearth instance start" has it go on where
it was; connections that it had are broken, and its clock has gone on. Its machine stays
reserved, and paid for. "hearth instance stop" gives up what is kept.`,
		Example: `  hearth instance suspend web
  hearth instance start web`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			for _, name := range args {
				if err := client.SuspendInstance(c.Context(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
