/* Says in whose name it is run, by whatever program loads it. */
#include <stdio.h>
#include <unistd.h>

__attribute__((constructor)) static void say(void)
{
    printf("evil as %d\n", (int)geteuid());
    fflush(stdout);
}
